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
    folio::{
        HUGE_BYTES,
        HUGE_PAGES, //
    },
    helpers,
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
    pci::{
        PciDevice,
        StayLock, //
    },
    revocable::Revocable,
    vma::Frame, //
};

/// A device that memory is allocated for: what it can address, memory for it lies in.
pub(crate) enum Device {
    /// A device that only stands for one with a 64-bit address width.
    Faux(Faux),
    /// A PCI device.
    Pci(PciDevice),
}

/// A faux device.
///
/// # Invariants
///
/// The pointer is to a registered faux device that `self` owns.
pub(crate) struct Faux(NonNull<bindings::faux_device>);

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
        PciDevice::at(domain, bus, slot, function).map(Self::Pci)
    }

    /// Whether an IOMMU translates what the device addresses. That can change: it does not any more for a
    /// device that was unplugged.
    fn is_translated(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { helpers::use_dma_iommu(self.as_raw()) }
    }

    /// Whether it sees what is in the processor's caches.
    fn is_coherent(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { helpers::dev_is_dma_coherent(self.as_raw()) }
    }

    /// Whether its driver has given it memory of its own, which all coherent memory for it comes from.
    fn has_own_memory(&self) -> bool {
        #[cfg(CONFIG_DMA_DECLARE_COHERENT)]
        // SAFETY: The device is valid.
        return unsafe {
            !(&raw const (*self.as_raw()).dma_mem)
                .read_volatile()
                .is_null()
        };
        #[cfg(not(CONFIG_DMA_DECLARE_COHERENT))]
        false
    }

    fn as_raw(&self) -> *mut bindings::device {
        match self {
            // SAFETY: By the type's invariant, the device is valid.
            Self::Faux(Faux(device)) => unsafe { &raw mut (*device.as_ptr()).dev },
            Self::Pci(device) => device.as_device(),
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

/// What coherent memory came from, and must go back to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allocator {
    /// One physical run, at its address in the kernel's direct mapping. For a device that does not see caches, the kernel maps
    /// it into the range of vmalloc as well, not cached, and does not use that address.
    Direct,
    /// Scattered pages, mapped as one run into the range of vmalloc, and by the IOMMU for the device.
    Iommu,
}

/// Coherent memory: what the device writes, the processor sees, and the other way round.
///
/// # Invariants
///
/// `address` and `bus` are `skipped` bytes behind the start of an allocation of `skipped` and `size` bytes, whole pages, that
/// `allocator` made for `device`. The kernel has it mapped with the mode `cache`, in the range of vmalloc if `is_mapped`.
pub(crate) struct Coherent {
    device: Arc<Device>,
    allocator: Allocator,
    address: NonNull<u8>,
    is_mapped: bool,
    cache: Cache,
    bus: u64,
    skipped: usize,
    size: usize,
    access: Arc<Revocable>,
}

// SAFETY: Memory belongs to no thread.
unsafe impl Send for Coherent {}

// SAFETY: What can be done with `&Coherent` is done by functions that may run at the same time.
unsafe impl Sync for Coherent {}

impl Coherent {
    /// How memory is mapped for a device that does not see caches: `pgprot_dmacoherent()`, which is
    /// `pgprot_writecombine()` on arm64. All devices see them on x86.
    const NOT_COHERENT: Cache = Cache::WriteCombine;

    /// Allocates `size` bytes, whole pages, zeroed, that `device` can address as one run. Fails with `EBUSY` if its driver has
    /// given it memory of its own.
    ///
    /// What is large begins where huge page-table entries fit, if that can be had.
    pub(crate) fn new(device: Arc<Device>, size: usize) -> Result<Self> {
        let this = Self::anywhere(device, size)?;
        let missing = this.missing();
        if missing == 0 || size < HUGE_BYTES {
            return Ok(this);
        }
        // The kernel places no run of pages in more than eight orders (`CONFIG_CMA_ALIGNMENT`). A longer one has a place in it.
        let longer = Self::anywhere(this.device.clone(), size.saturating_add(missing));
        Ok(longer
            .ok()
            .and_then(|longer| longer.skip(size))
            .unwrap_or(this))
    }

    /// Bytes from its start to where a huge entry fits.
    fn missing(&self) -> usize {
        match self.frame(0) {
            Some(frame) if self.allocator == Allocator::Direct => {
                let pages = (frame.number() as usize).wrapping_neg() % HUGE_PAGES;
                pages.wrapping_mul(PAGE_SIZE)
            }
            _ => 0,
        }
    }

    /// The `size` bytes in it from where a huge entry fits; `None` if they are not in it.
    fn skip(mut self, size: usize) -> Option<Self> {
        let skipped = self.missing();
        if skipped.checked_add(size)? > self.size {
            return None;
        }
        // INVARIANT: All of it was `size` bytes before, and nothing of it was skipped.
        self.skipped = skipped;
        self.size = self.size.saturating_sub(skipped);
        // SAFETY: That is inside the allocation.
        self.address = unsafe { self.address.add(skipped) };
        self.bus = self.bus.wrapping_add(skipped as u64);
        Some(self)
    }

    /// Allocates as [`new`](Self::new) does, wherever it is.
    fn anywhere(device: Arc<Device>, size: usize) -> Result<Self> {
        if device.has_own_memory() {
            return Err(EBUSY);
        }
        let access = Revocable::new(None)?;
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
        let address = NonNull::new(address.cast::<u8>()).ok_or(ENOMEM)?;
        // SAFETY: Takes any address.
        let is_mapped = unsafe { bindings::is_vmalloc_addr(address.as_ptr().cast()) };
        // This is what `dma_pgprot()` does, which is not exported. Memory in the direct mapping is cached.
        let cache = match is_mapped && !device.is_coherent() {
            true => Self::NOT_COHERENT,
            false => Cache::Cached,
        };
        // With these flags, the IOMMU's driver always maps its pages into the range of vmalloc. Where nobody else does, this
        // is surer than the device's state, which may have changed since.
        let allocator = match is_mapped {
            true if cache == Cache::Cached || device.is_translated() => Allocator::Iommu,
            _ => Allocator::Direct,
        };
        // INVARIANT: What is not null is an allocation of `size` bytes.
        Ok(Self {
            device,
            allocator,
            address,
            is_mapped,
            cache,
            bus,
            skipped: 0,
            size,
            access,
        })
    }

    /// What takes it away: the PCI device that it is for, if it is for one, and the right to access it.
    pub(crate) fn tie(&self) -> Option<(&PciDevice, &Arc<Revocable>)> {
        match &*self.device {
            Device::Pci(device) => Some((device, &self.access)),
            Device::Faux(_) => None,
        }
    }

    /// How the processor caches it, in every mapping.
    pub(crate) fn cache(&self) -> Cache {
        self.cache
    }

    /// Its address for the device.
    pub(crate) fn bus(&self) -> u64 {
        self.bus
    }

    /// Whether huge page-table entries can map some of it.
    pub(crate) fn has_huge(&self) -> bool {
        self.frame(0).is_some_and(|frame| frame.has_huge())
    }

    /// The page frame of its page `page`.
    pub(crate) fn frame(&self, page: usize) -> Option<Frame<'_>> {
        let number = self.frame_number(page)?;
        let run = match self.allocator {
            Allocator::Direct => (self.size / PAGE_SIZE).saturating_sub(page),
            Allocator::Iommu => 1,
        };
        // SAFETY: The frames are of the allocation, which lives while `self` does and is for user space to
        // share with the device. The kernel has them mapped with this mode by the type's invariant.
        Some(unsafe { Frame::new(number, run as u64, self.cache, &self.access) })
    }

    /// The number of the page frame of its page `page`.
    fn frame_number(&self, page: usize) -> Option<u64> {
        let start = page
            .checked_mul(PAGE_SIZE)
            .filter(|start| *start < self.size)?;
        // SAFETY: `start` is inside the allocation.
        let address = unsafe { self.address.as_ptr().add(start) };
        let number = match self.is_mapped {
            // SAFETY: By the type's invariant, the address is in a mapping in the range of vmalloc.
            true => unsafe { bindings::vmalloc_to_pfn(address.cast()) },
            // SAFETY: By the type's invariant, the address is in the direct mapping.
            false => unsafe { helpers::virt_to_pfn(address.cast()) },
        };
        Some(number as u64)
    }

    /// Gives all of the allocation back through `device`, at whose address `bus` the memory is.
    ///
    /// # Safety
    ///
    /// What the memory came from must be what the kernel now frees memory of `device` to, and nobody may use the
    /// memory after this.
    unsafe fn free(&self, device: &Device, bus: u64) {
        // SAFETY: The caller promises it. By the type's invariant, these are start and size of an allocation.
        unsafe {
            bindings::dma_free_attrs(
                device.as_raw(),
                self.size.saturating_add(self.skipped),
                self.address.as_ptr().sub(self.skipped).cast(),
                bus.wrapping_sub(self.skipped as u64),
                0,
            );
        }
    }

    /// Frees pages that the IOMMU's driver allocated, and of which the IOMMU knows nothing any more.
    ///
    /// # Safety
    ///
    /// So it must be, with nothing skipped, and nobody may use the memory after this.
    unsafe fn free_pages(&self) {
        let address = self.address.as_ptr();
        for start in (0..self.size).step_by(PAGE_SIZE) {
            // SAFETY: The allocation is a mapping in the range of vmalloc, of pages that are ours, each with one
            // reference.
            unsafe {
                let page = bindings::vmalloc_to_page(address.add(start).cast());
                bindings::__free_pages(page, 0);
            }
        }
        // SAFETY: The mapping is ours. The list of its pages, which the kernel has for it, goes with it; that says
        // of no page that the mapping owns it.
        unsafe { vfree(address.cast()) };
    }
}

// `vmalloc.h` has it, of which the kernel makes no bindings.
extern "C" {
    fn vfree(address: *const c_void);
}

impl Drop for Coherent {
    /// The IOMMU's translation for the device may have begun or ended since. It ends when the device is unplugged, which
    /// waits for this. Root can also switch it, in sysfs: doing so at this very moment wins a race
    /// that no lock closes which the kernel exports.
    fn drop(&mut self) {
        let _stay = StayLock::new();
        match (self.allocator, self.device.is_translated()) {
            // SAFETY: The kernel frees memory of this device to what this memory came from; nobody uses it: mappings
            // borrow it.
            (Allocator::Direct, false) | (Allocator::Iommu, true) => unsafe {
                self.free(&self.device, self.bus);
            },
            // The kernel would take the bus address for a physical one, and free other pages.
            // SAFETY: What an IOMMU does not translate any more, it has forgotten; mappings borrow the memory. Only of physical runs
            // something is skipped.
            (Allocator::Iommu, false) => unsafe { self.free_pages() },
            // The kernel would have the IOMMU forget an address that it never knew. So another device gives the
            // memory back, one that no IOMMU is for.
            (Allocator::Direct, true) => match (Device::faux(c"dma-free"), self.frame_number(0)) {
                // SAFETY: The memory is one physical run, as is all that the kernel frees for this device;
                // mappings borrow the memory.
                (Ok(device), Some(frame)) => unsafe {
                    self.free(&device, frame << PAGE_SIZE.ilog2());
                },
                _ => pr_warn!(
                    "{} bytes of dma memory are lost: there is no memory to free them\n",
                    self.size
                ),
            },
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
