// SPDX-License-Identifier: GPL-2.0

//! The hardware that windows of a device belong to, which can go.
//!
//! A window on memory of a PCI device, or with memory for one, is gone when that device is unplugged, and when a driver is
//! unbound from it: whoever does so gives the device to somebody else.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

use crate::{
    abstractions::{
        inode::Inode,
        pci::{
            PciDevice,
            Watch,
            Watcher, //
        },
        revocable::Revocable, //
    },
    layout::Extent,
    signal::Signal,
    window::Window, //
};

/// What is known of the hardware that a device's windows belong to.
pub(crate) struct Hardware {
    /// The device's name.
    name: CString,
    inode: Arc<Inode>,
    signal: Arc<Signal>,
    parts: KVec<Part>,
    /// Whether these are all windows of the device.
    are_all: bool,
}

/// A window that belongs to hardware.
struct Part {
    name: CString,
    device: PciDevice,
    extent: Extent,
    access: Arc<Revocable>,
}

impl Hardware {
    /// Takes windows away, once their hardware goes, until the result is dropped; nothing where none belongs to any.
    pub(crate) fn watch(
        name: &CStr,
        inode: &Arc<Inode>,
        signal: &Arc<Signal>,
        windows: &[Window],
    ) -> Result<Option<Pin<KBox<Watch<Self>>>>> {
        let mut parts = KVec::new();
        for window in windows {
            let Some((device, access)) = window.memory.tie() else {
                continue;
            };
            let part = Part {
                name: CString::try_from_fmt(fmt!("{}", &*window.name))?,
                device: device.clone(),
                extent: window.extent,
                access: access.clone(),
            };
            parts.push(part, GFP_KERNEL_ACCOUNT)?;
        }
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(Watch::new(Self {
            name: CString::try_from_fmt(fmt!("{name}"))?,
            inode: inode.clone(),
            signal: signal.clone(),
            are_all: parts.len() == windows.len(),
            parts,
        })?))
    }
}

impl Watcher for Hardware {
    fn devices(&self) -> impl Iterator<Item = &PciDevice> {
        self.parts.iter().map(|part| &part.device)
    }

    // ANCHOR: goes
    fn goes(&self, device: &PciDevice) {
        let mut is_news = false;
        for part in self.parts.iter().filter(|part| part.device == *device) {
            if let Some(_old) = part.access.revoke() {
                // From here on no fault maps it again; and only when nobody has it mapped, others can have it.
                self.inode.unmap(part.extent.offset, part.extent.size);
                pr_info!(
                    "{}: window {} is gone: its PCI device goes, or the driver of that\n",
                    &*self.name,
                    &*part.name
                );
                is_news = true;
            }
        }
        if is_news && self.are_all && self.parts.iter().all(|part| part.access.is_revoked()) {
            self.signal.end();
        } else if is_news {
            self.signal.notify();
        }
    }
    // ANCHOR_END: goes
}
