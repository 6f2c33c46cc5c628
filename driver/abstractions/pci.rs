// SPDX-License-Identifier: GPL-2.0

//! PCI devices that no driver of ours is bound to.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    types::NotThreadSafe, //
};

/// A reference to a PCI device.
///
/// # Invariants
///
/// The pointer is to a PCI device of which `self` owns a reference.
pub(crate) struct PciDevice(NonNull<bindings::pci_dev>);

// SAFETY: A reference belongs to no thread: it can be put anywhere.
unsafe impl Send for PciDevice {}

// SAFETY: What can be done with `&PciDevice` reads what the device is, or is done by the driver core, which locks
// for itself.
unsafe impl Sync for PciDevice {}

impl PciDevice {
    /// The device with this number; `None` if there is no such device.
    pub(super) fn at(domain: u16, bus: u8, slot: u8, function: u8) -> Option<Self> {
        let number = c_uint::from(slot & 0x1f) << 3 | c_uint::from(function & 7);
        // SAFETY: Takes any numbers, and gives null or a device with a reference for us.
        let device = unsafe {
            bindings::pci_get_domain_bus_and_slot(c_int::from(domain), c_uint::from(bus), number)
        };
        // INVARIANT: The reference is now ours.
        Some(Self(NonNull::new(device)?))
    }

    /// What `look` finds in the first device in which it finds something, and that device.
    pub(super) fn find<T>(mut look: impl FnMut(&Self) -> Option<T>) -> Option<(Self, T)> {
        const ANY: c_uint = c_uint::MAX;
        let mut device = core::ptr::null_mut();
        loop {
            // SAFETY: `device` is null, or one with a reference of ours, which is given up; the next
            // one comes with a reference.
            device = unsafe { bindings::pci_get_device(ANY, ANY, device) };
            // INVARIANT: The reference is ours, and not given up by another call.
            let this = Self(NonNull::new(device)?);
            if let Some(found) = look(&this) {
                return Some((this, found));
            }
            core::mem::forget(this);
        }
    }

    /// What of the addresses it has, or, as a bridge, hands on: each lives as long as the device.
    pub(super) fn resources(&self) -> impl Iterator<Item = NonNull<bindings::resource>> {
        // SAFETY: The device is valid by the reference. Only the address of a field is computed.
        elements(unsafe { &raw mut (*self.0.as_ptr()).resource })
    }

    /// As a device.
    pub(super) fn as_device(&self) -> *mut bindings::device {
        // SAFETY: By the type's invariant, the device is valid.
        unsafe { &raw mut (*self.0.as_ptr()).dev }
    }
}

impl Drop for PciDevice {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, `self` owns a reference.
        unsafe { bindings::pci_dev_put(self.0.as_ptr()) };
    }
}

/// Where the elements of an array are.
fn elements<T, const COUNT: usize>(array: *mut [T; COUNT]) -> impl Iterator<Item = NonNull<T>> {
    let first = array.cast::<T>();
    (0..COUNT).filter_map(move |index| NonNull::new(first.wrapping_add(index)))
}

/// While this is there, no PCI device comes or goes, nor do its resources change. A task that took it twice would
/// wait for itself.
pub(super) struct StayLock(NotThreadSafe);

impl StayLock {
    /// Waits until no device is coming or going, and keeps it so.
    pub(super) fn new() -> Self {
        // SAFETY: Takes a mutex, which may sleep; this is process context.
        unsafe { bindings::pci_lock_rescan_remove() };
        Self(NotThreadSafe)
    }
}

impl Drop for StayLock {
    fn drop(&mut self) {
        // SAFETY: `new` took the mutex, in this task: `self` cannot be sent to another one.
        unsafe { bindings::pci_unlock_rescan_remove() };
    }
}
