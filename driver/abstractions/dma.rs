// SPDX-License-Identifier: GPL-2.0

//! Coherent DMA memory, against a device that no driver of ours is bound to.
//!
//! The `kernel` crate's `dma::Coherent` needs a bound device.
//!
//! C headers: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h),
//! [`include/linux/device/faux.h`](srctree/include/linux/device/faux.h),
//! [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

use super::{
    cache::Cache,
    iov::{
        Destination,
        Source, //
    },
    memory::{
        clamp,
        read_bytes,
        write_bytes,
        SharedMemory, //
    },
    vma::Frame, //
};

/// A device that memory is allocated for: what it can address, memory for it lies in.
pub(crate) enum Device {
    /// A device that only stands for one with a 64-bit address width.
    Faux(Faux),
    /// A PCI device.
    Pci(Pci),
}

/// A faux device.
///
/// # Invariants
///
/// The pointer is to a registered faux device that `self` owns.
pub(crate) struct Faux(NonNull<bindings::faux_device>);

/// A reference to a PCI device.
///
/// # Invariants
///
/// The pointer is to a PCI device of which `self` owns a reference.
pub(crate) struct Pci(NonNull<bindings::pci_dev>);

// SAFETY: A device belongs to no thread.
unsafe impl Send for Device {}

// SAFETY: What a `&Device` is used for here locks itself.
unsafe impl Sync for Device {}

impl Device {
    /// Makes a device that can address 64 bits.
    pub(crate) fn faux(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name lives for ever; there is no parent and nothing to call back.
        let device = unsafe {
            bindings::faux_device_create(
                name.as_char_ptr(),
                core::ptr::null_mut(),
                core::ptr::null(),
            )
        };
        // INVARIANT: What is not null is a registered device, now ours.
        let this = Self::Faux(Faux(NonNull::new(device).ok_or(ENOMEM)?));
        let device = this.as_raw();
        // SAFETY: The device is ours and nobody else uses it yet. A bus would have given it a
        // place for its mask; as usual, that is the coherent one's.
        to_result(unsafe {
            (*device).dma_mask = &raw mut (*device).coherent_dma_mask;
            bindings::dma_set_mask_and_coherent(device, u64::MAX)
        })?;
        Ok(this)
    }

    /// The PCI device with this number; `None` if there is no such device.
    pub(crate) fn pci(domain: u16, bus: u8, slot: u8, function: u8) -> Option<Self> {
        let number = c_uint::from(slot & 0x1f) << 3 | c_uint::from(function & 7);
        // SAFETY: Takes any numbers, and gives null or a device with a reference for us.
        let device = unsafe {
            bindings::pci_get_domain_bus_and_slot(c_int::from(domain), c_uint::from(bus), number)
        };
        // INVARIANT: The reference is now ours.
        Some(Self::Pci(Pci(NonNull::new(device)?)))
    }

    /// Whether an IOMMU translates what the device addresses. That can change: it does not any more for a
    /// device that was unplugged.
    fn is_translated(&self) -> bool {
        const FLAG: u32 = bindings::struct_device_flags_DEV_FLAG_DMA_IOMMU;
        let device = self.as_raw();
        // SAFETY: The device is valid; others change its flags atomically. The flag is one of the first
        // word.
        let flags = unsafe {
            (&raw const (*device).flags)
                .cast::<c_ulong>()
                .read_volatile()
        };
        flags & (1 << FLAG) != 0
    }

    fn as_raw(&self) -> *mut bindings::device {
        match self {
            // SAFETY: By the types' invariants, both are valid.
            Self::Faux(Faux(device)) => unsafe { &raw mut (*device.as_ptr()).dev },
            // SAFETY: As above.
            Self::Pci(Pci(device)) => unsafe { &raw mut (*device.as_ptr()).dev },
        }
    }
}

impl Drop for Faux {
    fn drop(&mut self) {
        // SAFETY: The device is ours, and all memory that was allocated for it is gone: each
        // allocation keeps it.
        unsafe { bindings::faux_device_destroy(self.0.as_ptr()) };
    }
}

impl Drop for Pci {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { bindings::pci_dev_put(self.0.as_ptr()) };
    }
}

/// Coherent memory: what the device writes, the processor sees, and the other way round.
///
/// # Invariants
///
/// `address` and `bus` are of an allocation of `size` bytes, whole pages, for `device`.
pub(crate) struct Coherent {
    device: Arc<Device>,
    address: NonNull<u8>,
    bus: u64,
    size: usize,
}

// SAFETY: Memory belongs to no thread.
unsafe impl Send for Coherent {}

// SAFETY: What can be done with `&Coherent` is done by functions that may run at the same time.
unsafe impl Sync for Coherent {}

impl Coherent {
    /// Allocates `size` bytes, whole pages, zeroed, that `device` can address as one run.
    pub(crate) fn new(device: Arc<Device>, size: usize) -> Result<Self> {
        let mut bus = 0;
        // SAFETY: The device is valid, and `bus` can be written.
        let address = unsafe {
            bindings::dma_alloc_attrs(
                device.as_raw(),
                size,
                &mut bus,
                bindings::GFP_KERNEL | bindings::__GFP_NOWARN,
                bindings::DMA_ATTR_NO_WARN as c_ulong,
            )
        };
        // INVARIANT: What is not null is an allocation of `size` bytes.
        Ok(Self {
            device,
            address: NonNull::new(address.cast()).ok_or(ENOMEM)?,
            bus,
            size,
        })
    }

    /// Its address for the device.
    pub(crate) fn bus(&self) -> u64 {
        self.bus
    }

    /// Whether it was allocated as scattered pages, which an IOMMU shows the device as one run.
    fn is_translated(&self) -> bool {
        let physical = self.frame_number(0).map(|frame| frame << PAGE_SIZE.ilog2());
        physical != Some(self.bus)
    }

    /// The page frame of its page `page`.
    pub(crate) fn frame(&self, page: usize) -> Option<Frame<'_>> {
        let number = self.frame_number(page)?;
        // SAFETY: The frame is one of the allocation, which lives while `self` does and is for user space to
        // share with the device. On x86, coherent memory is cached as any other.
        Some(unsafe { Frame::new(number, Cache::Cached) })
    }

    /// The number of the page frame of its page `page`.
    fn frame_number(&self, page: usize) -> Option<u64> {
        let start = page
            .checked_mul(PAGE_SIZE)
            .filter(|start| *start < self.size)?;
        // SAFETY: `start` is inside the allocation.
        let address = unsafe { self.address.as_ptr().add(start) };
        // SAFETY: `address` is one of the kernel's: from its direct mapping, or made by an IOMMU's
        // driver in the range of vmalloc.
        unsafe {
            if bindings::is_vmalloc_addr(address.cast()) {
                Some(bindings::vmalloc_to_pfn(address.cast()) as u64)
            } else {
                let physical = (address as usize).wrapping_sub(bindings::page_offset_base);
                Some((physical / PAGE_SIZE) as u64)
            }
        }
    }
}

// `vmalloc.h` has it, of which the kernel makes no bindings.
extern "C" {
    fn vfree(address: *const c_void);
}

impl Drop for Coherent {
    fn drop(&mut self) {
        let address = self.address.as_ptr();
        match (self.is_translated(), self.device.is_translated()) {
            // SAFETY: By the type's invariant, and nobody uses the memory after this. What it came from
            // is what it goes to.
            (false, false) | (true, true) => unsafe {
                bindings::dma_free_attrs(
                    self.device.as_raw(),
                    self.size,
                    address.cast(),
                    self.bus,
                    0,
                );
            },
            // The kernel would take the bus address for a physical one, and free other pages. The IOMMU
            // has forgotten ours, which are single ones.
            (true, false) => {
                for start in (0..self.size).step_by(PAGE_SIZE) {
                    // SAFETY: The allocation is a mapping in the range of vmalloc, of pages that are ours
                    // and of which nobody uses what they have.
                    unsafe {
                        let page = bindings::vmalloc_to_page(address.add(start).cast());
                        bindings::__free_pages(page, 0);
                    }
                }
                // SAFETY: The mapping is ours, and nobody uses it after this. The list of its pages, which
                // the kernel has for it, goes with it; that says of no page that the mapping owns it.
                unsafe { vfree(address.cast()) };
            }
            // Only who changes the IOMMU's settings under the device gets here.
            (false, true) => pr_warn!(
                "{} bytes of dma memory are lost: the device had no IOMMU when they were allocated\n",
                self.size
            ),
        }
    }
}

impl SharedMemory for Coherent {
    fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize {
        let (start, len) = clamp(self.size, start, len);
        // SAFETY: The range is inside the allocation, and the iterator is a valid destination.
        unsafe {
            let from = self.address.as_ptr().add(start);
            bindings::_copy_to_iter(from.cast(), len, to.as_raw())
        }
    }

    fn copy_from(&self, start: usize, len: usize, from: &mut Source<'_>) -> usize {
        let (start, len) = clamp(self.size, start, len);
        // SAFETY: The range is inside the allocation, and the iterator is a valid source.
        unsafe {
            let to = self.address.as_ptr().add(start);
            bindings::_copy_from_iter(to.cast(), len, from.as_raw())
        }
    }

    fn fill(&self, start: usize, len: usize, byte: u8) {
        let (start, len) = clamp(self.size, start, len);
        // SAFETY: The range is inside the allocation. `memset` is the kernel's, which may run while
        // others use the memory.
        unsafe {
            let to = self.address.as_ptr().add(start);
            bindings::memset(to.cast(), c_int::from(byte), len);
        }
    }

    fn write(&self, start: usize, bytes: &[u8]) {
        let (start, len) = clamp(self.size, start, bytes.len());
        let bytes = bytes.get(..len).unwrap_or_default();
        // SAFETY: The range is inside the allocation.
        unsafe { write_bytes(self.address.as_ptr().add(start), bytes) };
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        let (start, len) = clamp(self.size, start, bytes.len());
        let bytes = bytes.get_mut(..len).unwrap_or_default();
        // SAFETY: The range is inside the allocation.
        unsafe { read_bytes(self.address.as_ptr().add(start), bytes) };
    }
}
