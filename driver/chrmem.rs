// SPDX-License-Identifier: GPL-2.0

//! chrmem: direct access from user space to memory that the kernel owns.
//!
//! This file has the module's parameters and what it registers, in which order.

use kernel::{
    error::Error,
    prelude::*,
    str::CString,
    sync::Arc, //
};

#[path = "../uapi/src/abi.rs"]
pub mod abi;
mod abstractions;
mod device;
mod file;
mod layout;
mod memory;
mod stats;
mod window;

use abstractions::{
    chrdev::{
        Cdev,
        Region, //
    },
    class::{
        Class,
        Node, //
    },
    debugfs, //
};
use device::Device;
use file::OpenFile;
use layout::Extent;
use window::Window;

module! {
    type: Chrmem,
    name: "chrmem",
    authors: ["The chrmem authors"],
    description: "Direct access from user space to memory that the kernel owns",
    license: "GPL",
    params: {
        devices: u32 {
            default: 1,
            description: "Number of plain devices, /dev/chrmem0 and on (default 1, at most 4096)",
        },
        size: u64 {
            default: 4096,
            description: "Bytes of each plain device's window, rounded up to whole pages (default 4096)",
        },
        limit: u64 {
            default: 0,
            description: "Bytes that all windows together may have; 0 is no limit (default 0)",
        },
        log_mappings: u8 {
            default: 0,
            description: "Log each mapping's begin and end, at a limited rate (default 0)",
        },
    },
}

/// Minor numbers of the region: as many devices as there can be.
const MAX_DEVICES: u32 = 4096;

/// The error for going over the `limit` parameter. 7.2's `kernel` crate does not name it.
fn edquot() -> Error {
    Error::from_errno(-(kernel::bindings::EDQUOT as c_int))
}

/// Whether mappings are to be logged.
fn log_mappings() -> bool {
    *module_parameters::log_mappings.value() != 0
}

/// The devices by minor number.
struct Devices(KVec<Arc<Device>>);

impl Devices {
    /// The device `minor`.
    fn get(&self, minor: u32) -> Option<Arc<Device>> {
        self.0.get(minor as usize).cloned()
    }
}

/// What can be seen of a device from outside.
struct Published {
    _node: Node,
    _debugfs: debugfs::File<Device>,
}

/// All that the module has registered.
///
/// The order matters: fields are dropped from the first to the last. First nothing can be opened
/// any more, then what the devices are seen by goes, and at last their numbers are free.
struct Chrmem {
    _cdev: Pin<KBox<Cdev<OpenFile>>>,
    _published: KVec<Published>,
    _region: Region,
}

impl kernel::Module for Chrmem {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let count = *module_parameters::devices.value();
        let extent = plain_extent(
            count,
            *module_parameters::size.value(),
            *module_parameters::limit.value(),
        )?;

        // Everything that can fail comes before the one step after which the devices can be opened:
        // a module whose init fails goes at once, whoever has got hold of it.
        let region = Region::new(c"chrmem_dev", MAX_DEVICES)?;
        let class = Class::new(c"chrmem")?;
        let folder = Arc::new(debugfs::Folder::new(c"chrmem"), GFP_KERNEL)?;
        let mut devices = KVec::new();
        let mut published = KVec::new();
        for minor in 0..count {
            let device = plain(minor, extent).inspect_err(|error| {
                pr_err!(
                    "device {minor} of {count}: no memory for a window of {} bytes: {error:?}\n",
                    extent.size
                )
            })?;
            let number = region.number(minor).ok_or(EINVAL)?;
            published.push(
                Published {
                    _node: Node::new(class.clone(), number, device.name())?,
                    _debugfs: debugfs::File::new(folder.clone(), device.name(), device.clone()),
                },
                GFP_KERNEL,
            )?;
            devices.push(device, GFP_KERNEL)?;
        }
        Ok(Self {
            _cdev: Cdev::new(&region, Devices(devices))?,
            _published: published,
            _region: region,
        })
    }
}

/// The extent of a plain device's window, if the parameters are good.
fn plain_extent(devices: u32, size: u64, limit: u64) -> Result<Extent> {
    if devices > MAX_DEVICES {
        pr_err!("devices={devices}: at most {MAX_DEVICES}\n");
        return Err(EINVAL);
    }
    let Some(whole) = layout::whole_pages(size) else {
        pr_err!(
            "size={size}: must be at least 1 and at most {}\n",
            layout::END_MAX
        );
        return Err(EINVAL);
    };
    let total = whole.saturating_mul(devices.into());
    if limit != 0 && total > limit {
        pr_err!("devices={devices} size={size}: {total} bytes in all are over limit={limit}\n");
        return Err(edquot());
    }
    Ok(Extent {
        offset: 0,
        size: whole,
    })
}

/// Makes a plain device: one window, its first hundredth filled.
fn plain(minor: u32, extent: Extent) -> Result<Arc<Device>> {
    let window = Window::new(CString::try_from_fmt(fmt!("buffer"))?, extent)?;
    window.memory().fill(0, extent.size / 100, abi::FILL);
    let mut windows = KVec::new();
    windows.push(window, GFP_KERNEL_ACCOUNT)?;
    Device::new(CString::try_from_fmt(fmt!("chrmem{minor}"))?, windows)
}
