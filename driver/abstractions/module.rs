// SPDX-License-Identifier: GPL-2.0

//! The module itself and its parameters, whose form differs from one kernel series to the next.

use core::borrow::Borrow;
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Full, //
        },
        Arc, //
    },
    types::Opaque, //
};

use super::{
    chrdev::{
        Cdev,
        FileOperations,
        Region, //
    },
    configfs::{
        Directory,
        Subsystem, //
    }, //
};

#[expect(improper_ctypes, reason = "`Opaque` has the layout of what it holds")]
extern "C" {
    static __this_module: Opaque<bindings::module>;
}

/// `THIS_MODULE` of C. What the `module!` macro makes of it has another name in each series.
// SAFETY: The build puts `__this_module` into every module. It lives as long as the module's code.
pub(crate) static THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(__this_module.get()) };

/// The value of a module parameter, which Linux 7.2 gives by reference and 7.3 by value.
pub(crate) fn value<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}

/// What a module has that is a driver of one region of character devices, and of a folder of configfs.
pub(crate) trait Driver: Send + Sync + Sized + 'static {
    /// An open file.
    type File: FileOperations;

    /// The uppermost folder.
    type Folder: Directory;

    /// Makes all that can be made before anybody can use it.
    fn new() -> Result<Self>;

    /// The numbers of its devices.
    fn region(&self) -> &Region;

    /// What a minor number is looked up in.
    fn devices(&self) -> <Self::File as FileOperations>::Devices;

    /// The name of the uppermost folder, and what it is.
    fn folder(&self) -> Result<(&'static CStr, Arc<Self::Folder>)>;

    /// The devices can be opened now, and the module is loaded for good.
    fn opened(&self);
}

/// A [`Driver`] that is registered as long as the module is loaded.
///
/// What user space can open is owned here, and goes with the module, when nobody has any of it: each file and each folder
/// holds a reference to the module. That is why there is only one such value, which the `module!` macro makes.
///
/// The order matters: fields are dropped from the first to the last. First nothing can be opened or made any more.
pub(crate) struct Registered<D: Driver> {
    _cdev: Pin<KBox<Cdev<D::File>>>,
    _folder: Subsystem<D::Folder>,
    _driver: D,
}

impl<D: Driver> kernel::Module for Registered<D> {
    // ANCHOR: init
    fn init(_module: &'static ThisModule) -> Result<Self> {
        static IS_MADE: AtomicFlag = AtomicFlag::new(false);
        // The macro's call is the first: before it, no code of the module runs.
        if IS_MADE.xchg(true, Full) {
            return Err(EBUSY);
        }
        let driver = D::new()?;
        let (name, data) = driver.folder()?;
        let folder = Subsystem::new(name, data)?;
        // The last step that can fail is the one after which the devices can be opened: a module
        // whose init fails goes at once, whoever has got hold of it. For the same reason nothing
        // can be made in the folder until then, and nobody is told of a device.
        let cdev = Cdev::new(driver.region(), driver.devices())?;
        driver.opened();
        folder.open();
        Ok(Self {
            _cdev: cdev,
            _folder: folder,
            _driver: driver,
        })
    }
    // ANCHOR_END: init
}
