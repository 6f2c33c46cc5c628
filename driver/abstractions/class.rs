// SPDX-License-Identifier: GPL-2.0

//! Device classes and the nodes that appear in `/dev` for their devices.
//!
//! C header: [`include/linux/device/class.h`](srctree/include/linux/device/class.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            AtomicFlag,
            Release, //
        },
        Arc, //
    }, //
};

use super::chrdev::Number;

/// A device class: a folder of `/sys/class`.
///
/// Its devices are announced to user space (by uevents) from [`Self::announce`] on: until then, their nodes
/// may not be open to anybody yet.
///
/// # Invariants
///
/// `class` is registered until `self` is dropped, and has the callback [`uevent`]. The driver data of each of its
/// devices is `self`.
pub(crate) struct Class {
    class: *mut bindings::class,
    is_announced: AtomicFlag,
}

// SAFETY: A class belongs to no thread, and registering a device with it locks itself.
unsafe impl Send for Class {}

// SAFETY: `&Class` gives access to an atomic flag, and to a class that locks itself.
unsafe impl Sync for Class {}

impl Class {
    /// Registers a class.
    pub(crate) fn new(name: &'static CStr) -> Result<Arc<Self>> {
        // SAFETY: The name is a C string that lives for ever.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        // SAFETY: The class was just made, and as it has no devices, nobody looks for a callback.
        unsafe { (*class).dev_uevent = Some(uevent) };
        // INVARIANT: `class_create` gave a registered class, and there are no devices. If there is no memory
        // for the `Arc`, dropping `Self` destroys the class.
        let this = Self {
            class,
            is_announced: AtomicFlag::new(false),
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Has new devices announced from now on; those that are there, [`Node::announce`] announces.
    pub(crate) fn announce(&self) {
        self.is_announced.store(true, Release);
    }
}

/// Keeps the kernel from announcing a device that nobody can open yet.
///
/// # Safety
///
/// Called by the driver core only, for a device of a [`Class`].
unsafe extern "C" fn uevent(
    device: *const bindings::device,
    _: *mut bindings::kobj_uevent_env,
) -> c_int {
    // SAFETY: By the type's invariant, this is the device's driver data. Its node keeps the class, and waits
    // for this call before it goes.
    let class = unsafe { &*(*device).driver_data.cast::<Class>() };
    match class.is_announced.load(Acquire) {
        true => 0,
        false => EAGAIN.to_errno(),
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        // SAFETY: The class is registered by the type's invariant, and every node holds an `Arc`
        // of it, so that it has no devices any more.
        unsafe { bindings::class_destroy(self.class) };
    }
}

/// A device of a class, with its node in `/dev` (made by devtmpfs: root's, mode 0600).
///
/// # Invariants
///
/// `device` is a device of `class` with the number `number`, registered until `self` is dropped.
pub(crate) struct Node {
    class: Arc<Class>,
    number: Number,
    device: NonNull<bindings::device>,
}

// SAFETY: A device belongs to no thread: it can be unregistered anywhere.
unsafe impl Send for Node {}

// SAFETY: With `&Node`, a device can only be announced, which locks itself.
unsafe impl Sync for Node {}

impl Node {
    /// Makes the device, its node and its uevent.
    pub(crate) fn new(class: Arc<Class>, number: Number, name: &CStr) -> Result<Self> {
        // SAFETY: The class is registered; it has no parent; the driver data is the class, which `Self`
        // keeps; the format takes one C string, which the function copies.
        let device = from_err_ptr(unsafe {
            bindings::device_create(
                class.class,
                core::ptr::null_mut(),
                number.as_raw(),
                Arc::as_ptr(&class).cast_mut().cast(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        // INVARIANT: The device was just made.
        Ok(Self {
            device: NonNull::new(device).ok_or(ENOMEM)?,
            class,
            number,
        })
    }

    /// Announces the device, if it was made before its class's devices were.
    pub(crate) fn announce(&self) {
        // SAFETY: The device is registered by the type's invariant. If there is no memory to announce it,
        // it is there nevertheless, as any other is to the driver core.
        unsafe {
            let kobject = &raw mut (*self.device.as_ptr()).kobj;
            bindings::kobject_uevent(kobject, bindings::kobject_action_KOBJ_ADD);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: The class is registered and has the device by the type's invariant.
        unsafe { bindings::device_destroy(self.class.class, self.number.as_raw()) };
    }
}
