// SPDX-License-Identifier: GPL-2.0

//! What devices there are, how they are seen from outside, and how much memory they may have.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    abstractions::{
        chrdev::Region,
        class::{
            Class,
            Node, //
        },
        debugfs,
        dma,
        errno::edquot,
        inode::{
            Inode,
            Mount, //
        }, //
    },
    device::Device, //
};

/// Minor numbers of the region: as many devices as there can be.
pub(crate) const MAX_DEVICES: u32 = 4096;

/// What a minor number is for.
enum Slot {
    Free,
    /// A device; none when it is on its way out, and its node may still be there.
    Taken(Option<Arc<Device>>),
}

/// The devices by minor number.
#[pin_data]
pub(crate) struct Registry {
    region: Region,
    class: Arc<Class>,
    folder: Arc<debugfs::Folder>,
    #[pin]
    devices: Mutex<KVec<Slot>>,
    /// Bytes of RAM in windows, and how many there may be.
    #[pin]
    used: Mutex<u64>,
    limit: u64,
    /// What memory is allocated for that is for no device in particular.
    #[pin]
    dma: Mutex<Option<Arc<dma::Device>>>,
    /// Where the devices' inodes come from.
    mount: Arc<Mount>,
}

impl Registry {
    /// A registry of no devices, whose windows may have `limit` bytes in all; 0 is no limit.
    pub(crate) fn new(limit: u64) -> Result<Arc<Self>> {
        let region = Region::new(c"chrmem_dev", MAX_DEVICES)?;
        let class = Class::new(c"chrmem")?;
        let folder = Arc::new(debugfs::Folder::new(c"chrmem"), GFP_KERNEL)?;
        let mount = Arc::new(Mount::new()?, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                region,
                class,
                folder,
                devices <- new_mutex!(KVec::new(), "Registry::devices"),
                used <- new_mutex!(0, "Registry::used"),
                limit,
                dma <- new_mutex!(None, "Registry::dma"),
                mount,
            }),
            GFP_KERNEL,
        )
    }

    /// The numbers of its devices.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Says that devices can be opened. Only now are they announced, first those in `plain`.
    pub(crate) fn announce(&self, plain: &[Published]) {
        self.class.announce();
        for device in plain {
            device.node.announce();
        }
    }

    /// An inode for a device of `size` bytes.
    pub(crate) fn inode(&self, size: u64) -> Result<Inode> {
        Inode::new(self.mount.clone(), size)
    }

    /// The device that DMA memory is for if none is named, made when it is first asked for.
    pub(crate) fn dma_device(&self) -> Result<Arc<dma::Device>> {
        let mut dma = self.dma.lock();
        if let Some(device) = &*dma {
            return Ok(device.clone());
        }
        let device = Arc::new(dma::Device::faux(c"chrmem")?, GFP_KERNEL)?;
        *dma = Some(device.clone());
        Ok(device)
    }

    /// The device `minor`.
    pub(crate) fn get(&self, minor: u32) -> Option<Arc<Device>> {
        match self.devices.lock().get(minor as usize)? {
            Slot::Free => None,
            Slot::Taken(device) => device.clone(),
        }
    }

    /// Takes the lowest free minor number for `device`.
    fn insert(self: &Arc<Self>, device: Arc<Device>) -> Result<Minor> {
        let mut devices = self.devices.lock();
        let minor = match devices.iter().position(|slot| matches!(slot, Slot::Free)) {
            Some(minor) => minor,
            None => {
                let minor = devices.len();
                if minor >= MAX_DEVICES as usize {
                    let name = device.name();
                    pr_err!("{name}: there are {MAX_DEVICES} devices already\n");
                    return Err(ENOSPC);
                }
                devices.push(Slot::Free, GFP_KERNEL)?;
                minor
            }
        };
        if let Some(slot) = devices.get_mut(minor) {
            *slot = Slot::Taken(Some(device));
        }
        Ok(Minor {
            registry: self.clone(),
            number: minor as u32,
        })
    }

    /// Counts `bytes` of RAM against the limit until the result is dropped. Says in the log, after
    /// `what`, if they are too many.
    pub(crate) fn charge(self: &Arc<Self>, what: fmt::Arguments<'_>, bytes: u64) -> Result<Charge> {
        let mut used = self.used.lock();
        let total = used.saturating_add(bytes);
        if self.limit != 0 && total > self.limit {
            pr_err!(
                "{what}: {bytes} bytes more than the {} there are go over limit={}\n",
                *used,
                self.limit
            );
            return Err(edquot());
        }
        *used = total;
        Ok(Charge {
            registry: self.clone(),
            bytes,
        })
    }
}

/// Bytes that are counted against the limit.
pub(crate) struct Charge {
    registry: Arc<Registry>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut used = self.registry.used.lock();
        *used = used.saturating_sub(self.bytes);
    }
}

/// A minor number that nobody else has until this is dropped.
struct Minor {
    registry: Arc<Registry>,
    number: u32,
}

impl Minor {
    /// Has it stand for something else.
    fn set(&self, new: Slot) {
        // The device is dropped after the lock.
        let _old = match self.registry.devices.lock().get_mut(self.number as usize) {
            Some(slot) => core::mem::replace(slot, new),
            None => Slot::Free,
        };
    }
}

impl Drop for Minor {
    fn drop(&mut self) {
        self.set(Slot::Free);
    }
}

/// A device as it is seen from outside: its number, node and debugfs file.
///
/// Dropping this is destroying the device: it can no longer be opened, open files answer `ENODEV`,
/// and mappings keep its memory.
pub(crate) struct Published {
    device: Arc<Device>,
    _debugfs: debugfs::File<Device>,
    node: Node,
    // The last to go: the kernel knows the node by it.
    minor: Minor,
}

impl Published {
    /// Gives `device` a number and shows it.
    pub(crate) fn new(registry: &Arc<Registry>, device: Arc<Device>) -> Result<Self> {
        let minor = registry.insert(device.clone())?;
        let show = || {
            let number = registry.region.number(minor.number).ok_or(EINVAL)?;
            Node::new(registry.class.clone(), number, device.name())
        };
        let node = show().inspect_err(|error| {
            // By the number it can be open already, through a node that somebody else has made.
            device.remove();
            pr_err!("{}: no node: {error:?}\n", device.name());
        })?;
        Ok(Self {
            _debugfs: debugfs::File::new(registry.folder.clone(), device.name(), device.clone()),
            node,
            minor,
            device,
        })
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.minor.set(Slot::Taken(None));
        self.device.remove();
    }
}
