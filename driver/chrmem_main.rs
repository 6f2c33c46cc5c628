// SPDX-License-Identifier: GPL-2.0

//! chrmem: direct access from user space to memory that the kernel owns.
//!
//! This file has the module's parameters and what it registers, in which order.

use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::Arc, //
};

#[path = "../uapi/src/abi.rs"]
pub mod abi;
mod abstractions;
mod config;
mod device;
mod export;
mod file;
mod hardware;
mod layout;
mod list;
mod memory;
mod number;
mod pages;
mod progress;
mod registry;
mod signal;
mod stats;
mod track;
mod window;

use abstractions::{
    cache::Cache,
    chrdev::Region,
    module::{
        self,
        Driver,
        Registered, //
    }, //
};
use device::Device;
use file::OpenFile;
use layout::Extent;
use memory::{
    Kind,
    Memory,
    Request, //
};
use registry::{
    Published,
    Registry,
    MAX_DEVICES, //
};
use window::{
    Access,
    Window, //
};

module! {
    type: Registered<Chrmem>,
    name: "chrmem",
    authors: ["The chrmem authors"],
    description: "Direct access from user space to memory that the kernel owns",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
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

/// Whether mappings are to be logged.
fn log_mappings() -> bool {
    module::value::<u8>(module_parameters::log_mappings.value()) != 0
}

/// The driver, as the parameters ask for it.
///
/// The order matters: fields are dropped from the first to the last. First what the devices are seen by goes, and at last
/// their numbers are free.
struct Chrmem {
    plain: KVec<Published>,
    registry: Arc<Registry>,
}

impl Driver for Chrmem {
    type File = OpenFile;
    type Folder = config::Root;

    fn new() -> Result<Self> {
        let registry = Registry::new(module::value(module_parameters::limit.value()))?;
        let plain = plain_devices(&registry)?;
        Ok(Self { plain, registry })
    }

    fn region(&self) -> &Region {
        self.registry.region()
    }

    fn devices(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    fn folder(&self) -> Result<(&'static CStr, Arc<config::Root>)> {
        Ok((c"chrmem", config::Root::new(self.registry.clone())?))
    }

    fn opened(&self) {
        self.registry.announce(&self.plain);
    }
}

/// Makes the devices that the parameters ask for.
fn plain_devices(registry: &Arc<Registry>) -> Result<KVec<Published>> {
    let count: u32 = module::value(module_parameters::devices.value());
    if count > MAX_DEVICES {
        pr_err!("devices={count}: at most {MAX_DEVICES}\n");
        return Err(EINVAL);
    }
    let size: u64 = module::value(module_parameters::size.value());
    let Some(size) = layout::whole_pages(size) else {
        pr_err!(
            "size={size}: must be at least 1 and at most {}\n",
            layout::END_MAX
        );
        return Err(EINVAL);
    };
    // Told at once, not after half of the devices were made.
    let total = size.saturating_mul(count.into());
    registry.charge(fmt!("devices={count} size={size}"), total)?;
    let mut devices = KVec::new();
    for index in 0..count {
        let device = plain_device(registry, index, size)?;
        devices.push(Published::new(registry, device)?, GFP_KERNEL)?;
    }
    Ok(devices)
}

/// Makes a plain device: one window, its first hundredth filled.
fn plain_device(registry: &Arc<Registry>, index: u32, size: u64) -> Result<Arc<Device>> {
    let name = CString::try_from_fmt(fmt!("chrmem{index}"))?;
    let window = Window {
        name: CString::try_from_fmt(fmt!("buffer"))?,
        extent: Extent { offset: 0, size },
        _charge: registry.charge(fmt!("{}", &*name), size)?,
        memory: Memory::new(
            fmt!("{}", &*name),
            &Request {
                size,
                kind: Kind::Pages,
                cache: Cache::Cached,
                address: None,
                device: None,
                node: None,
                track: false,
            },
        )?,
        access: Access::ReadWrite,
        stamps: None,
    };
    window.memory.fill(0, size / 100, abi::FILL)?;
    let mut windows = KVec::new();
    windows.push(window, GFP_KERNEL_ACCOUNT)?;
    let mut extents = KVec::new();
    extents.push(Extent { offset: 0, size }, GFP_KERNEL_ACCOUNT)?;
    Device::new(registry, name, windows, extents)
}
