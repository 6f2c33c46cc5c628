// SPDX-License-Identifier: GPL-2.0

//! PCI devices that no driver of ours is bound to.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::{
    marker::PhantomPinned,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
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

    /// Whether it is there, and not on its way out.
    fn is_registered(&self) -> bool {
        // SAFETY: The device is valid by the reference.
        unsafe { (*self.as_device()).kobj.state_in_sysfs() != 0 }
    }

    /// As a device.
    pub(super) fn as_device(&self) -> *mut bindings::device {
        // SAFETY: By the type's invariant, the device is valid.
        unsafe { &raw mut (*self.0.as_ptr()).dev }
    }
}

impl Clone for PciDevice {
    fn clone(&self) -> Self {
        // SAFETY: The device is valid by the reference.
        unsafe { bindings::pci_dev_get(self.0.as_ptr()) };
        // INVARIANT: The reference is now ours.
        Self(self.0)
    }
}

impl PartialEq for PciDevice {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
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

/// What has to do with PCI devices that may go.
pub(crate) trait Watcher: Send + Sync + 'static {
    /// These devices; always the same.
    fn devices(&self) -> impl Iterator<Item = &PciDevice>;

    /// One of them goes, or its driver is unbound from it; it is told so once or more often.
    fn goes(&self, device: &PciDevice);
}

/// Tells a [`Watcher`] of its devices, until this is dropped.
///
/// # Invariants
///
/// `block` is only ever used as a part of `Self`, which is pinned, and in no list but the one of the PCI bus.
#[pin_data(PinnedDrop)]
pub(crate) struct Watch<T: Watcher> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    watcher: T,
    #[pin]
    _pinned: PhantomPinned,
}

// SAFETY: A notifier belongs to no thread.
unsafe impl<T: Watcher> Send for Watch<T> {}

// SAFETY: `&Watch` gives access to nothing but `watcher`, which is `Sync`.
unsafe impl<T: Watcher> Sync for Watch<T> {}

impl<T: Watcher> Watch<T> {
    /// Begins to tell. Fails with `ENODEV` if one of the devices is gone already.
    pub(crate) fn new(watcher: T) -> Result<Pin<KBox<Self>>> {
        // INVARIANT: It is in no list yet.
        let this = KBox::pin_init(
            pin_init!(Self {
                block <- Opaque::new(bindings::notifier_block {
                    notifier_call: Some(notify::<T>),
                    next: core::ptr::null_mut(),
                    priority: 0,
                }),
                watcher,
                _pinned: PhantomPinned,
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let _stay = StayLock::new();
        // INVARIANT: If this fails, it is in no list, which `drop` takes as well.
        // SAFETY: The block is filled in and pinned. It is taken out before it goes.
        to_result(unsafe {
            bindings::bus_register_notifier(&raw const bindings::pci_bus_type, this.block.get())
        })?;
        let are_there = this.watcher.devices().all(PciDevice::is_registered);
        are_there.then_some(this).ok_or(ENODEV)
    }
}

#[pinned_drop]
impl<T: Watcher> PinnedDrop for Watch<T> {
    fn drop(self: Pin<&mut Self>) {
        // Waits for calls that are under way.
        // SAFETY: By the type's invariant the block is in this list or in none.
        unsafe {
            bindings::bus_unregister_notifier(&raw const bindings::pci_bus_type, self.block.get())
        };
    }
}

/// # Safety
///
/// Called by the driver core only, for the block of a [`Watch<T>`] and a device of the bus.
unsafe extern "C" fn notify<T: Watcher>(
    block: *mut bindings::notifier_block,
    event: c_ulong,
    device: *mut c_void,
) -> c_int {
    const ENDS: [bindings::bus_notifier_event; 3] = [
        bindings::bus_notifier_event_BUS_NOTIFY_UNBIND_DRIVER,
        bindings::bus_notifier_event_BUS_NOTIFY_DEL_DEVICE,
        bindings::bus_notifier_event_BUS_NOTIFY_REMOVED_DEVICE,
    ];
    if ENDS.contains(&(event as bindings::bus_notifier_event)) {
        // SAFETY: By the type's invariant this is the block of a `Watch<T>`, which waits for this call before it goes.
        let this = unsafe { &*container_of!(Opaque::cast_from(block), Watch<T>, block) };
        let is_it = |it: &&PciDevice| it.as_device() == device.cast();
        if let Some(device) = this.watcher.devices().find(is_it) {
            this.watcher.goes(device);
        }
    }
    bindings::NOTIFY_DONE as c_int
}
