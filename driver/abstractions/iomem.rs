// SPDX-License-Identifier: GPL-2.0

//! Physical address ranges that are not RAM: registers and memory of devices, reserved regions.
//!
//! C headers: [`include/linux/ioport.h`](srctree/include/linux/ioport.h),
//! [`include/linux/io.h`](srctree/include/linux/io.h),
//! [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*, //
};

use super::{
    cache::Cache,
    capability::RawMemory,
    iov::{
        Destination,
        Source, //
    },
    memory::{
        clamp,
        SharedMemory, //
    },
    vma::Frame, //
};

/// Why a physical range cannot be had.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// It ends beyond what the processor can address.
    BeyondAddressWidth,
    /// Some of it is RAM that the kernel uses.
    SystemRam,
    /// A driver has claimed some of it.
    Claimed,
    /// There is no memory to note the claim in.
    NoMemory,
    /// The kernel could not map it.
    Unmappable,
}

/// A physical range, claimed and mapped into the kernel.
///
/// # Invariants
///
/// `address` is the range's mapping, of `size` bytes, with the mode `cache`.
pub(crate) struct IoMemory {
    start: u64,
    size: usize,
    cache: Cache,
    address: NonNull<u8>,
    /// Goes after the mapping.
    _claim: Claim,
}

// SAFETY: A mapping of the kernel belongs to no thread.
unsafe impl Send for IoMemory {}

// SAFETY: What can be done with `&IoMemory` is done by functions that may run at the same time.
unsafe impl Sync for IoMemory {}

impl IoMemory {
    /// Claims and maps `size` bytes, whole pages, from the physical address `start`.
    ///
    /// What a device does when its memory is written cannot be known here. That is why the task must have the
    /// right to use raw memory: the administrator who gave it answers for the device.
    pub(crate) fn new(
        _right: &RawMemory,
        start: u64,
        size: usize,
        cache: Cache,
    ) -> Result<Self, Refusal> {
        // SAFETY: Set at boot, and never changed.
        let width = unsafe { bindings::iomem_resource.end };
        match start.checked_add(size as u64) {
            Some(end) if size != 0 && end.wrapping_sub(1) <= width => (),
            _ => return Err(Refusal::BeyondAddressWidth),
        }
        if has(start, size as u64, bindings::IORESOURCE_SYSTEM_RAM) {
            return Err(Refusal::SystemRam);
        }
        let claim = Claim::new(start, size as u64)?;
        // SAFETY: The range is addressable, not RAM, and claimed by us.
        let address = unsafe {
            match cache {
                Cache::Cached => bindings::ioremap_cache(start, size),
                Cache::WriteCombine => bindings::ioremap_wc(start, size),
                Cache::NonCached => bindings::ioremap(start, size),
            }
        };
        let address = NonNull::new(address.cast()).ok_or(Refusal::Unmappable)?;
        Ok(Self {
            start,
            size,
            cache,
            address,
            _claim: claim,
        })
    }

    /// The physical address of its first byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The page frame of its page `page`.
    pub(crate) fn frame(&self, page: usize) -> Option<Frame<'_>> {
        let start = page
            .checked_mul(PAGE_SIZE)
            .filter(|start| *start < self.size)?;
        let number = self.start.checked_add(start as u64)? >> PAGE_SIZE.ilog2();
        // SAFETY: The frame lies in the range, which is claimed while `self` lives, is not RAM, and is
        // mapped into the kernel with this cache mode by the type's invariant.
        Some(unsafe { Frame::new(number, self.cache) })
    }
}

/// Whether some of a range is a resource with this flag.
fn has(start: u64, size: u64, flag: u32) -> bool {
    // SAFETY: Takes any range.
    let intersection = unsafe {
        bindings::region_intersects(
            start,
            size as usize,
            flag as c_ulong,
            bindings::IORES_DESC_NONE as c_ulong,
        )
    };
    intersection != bindings::REGION_DISJOINT as c_int
}

impl Drop for IoMemory {
    fn drop(&mut self) {
        // SAFETY: `address` is what `ioremap` gave, and nobody uses it after this.
        unsafe { bindings::iounmap(self.address.as_ptr().cast()) };
    }
}

/// An entry in the kernel's list of resources (`/proc/iomem`), taken out when dropped.
///
/// Where the range is of a PCI device or behind a bridge, the entry hangs from one that is part of that
/// device, and stays there when the device is unplugged: it can then no longer be found by its range, which
/// may be somebody else's by then. So the device is kept, and the entry taken out by itself.
///
/// # Invariants
///
/// `entry` was made by `__request_region`, and is in the list, or below what has been in it.
struct Claim {
    entry: NonNull<bindings::resource>,
    /// Goes after the entry.
    _device: Option<Owner>,
}

impl Claim {
    fn new(start: u64, size: u64) -> Result<Self, Refusal> {
        let has_bar = Owner::find(|it| it.has_bar(start, size)).is_some();
        // SAFETY: The list is the kernel's own, and the name lives as long as the module, which
        // outlives the claim.
        let entry = unsafe {
            bindings::__request_region(
                &raw mut bindings::iomem_resource,
                start,
                size,
                c"chrmem".as_char_ptr(),
                0,
            )
        };
        let entry = NonNull::new(entry).ok_or_else(|| {
            // The kernel does not tell why. Inside a BAR, only what is busy can be in the way.
            match has_bar && !has(start, size, bindings::IORESOURCE_BUSY) {
                true => Refusal::NoMemory,
                false => Refusal::Claimed,
            }
        })?;
        // SAFETY: The entry is ours. What it hangs from is only compared.
        let parent = unsafe { (*entry.as_ptr()).parent };
        // INVARIANT: What is not null was put into the list.
        let this = Self {
            entry,
            _device: Owner::find(|it| it.has_resource(parent)),
        };
        // Part of a BAR that its driver has handed on hangs from what goes with that driver.
        match has_bar && this._device.is_none() {
            true => Err(Refusal::Claimed),
            false => Ok(this),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let entry = self.entry.as_ptr();
        // SAFETY: By the invariants, the entry is below another one: below one of a device that is
        // kept, or below one that is never removed. A bridge whose ranges are given out anew leaves it
        // alone. Nobody else takes it out, and once it is out, nobody else has it; it was allocated by
        // `kzalloc`.
        unsafe {
            if !(*entry).parent.is_null() {
                bindings::release_resource(entry);
            }
            bindings::kfree(entry.cast());
        }
    }
}

/// A reference to a PCI device.
///
/// # Invariants
///
/// The pointer is to a PCI device of which `self` owns a reference.
struct Owner(NonNull<bindings::pci_dev>);

impl Owner {
    /// The first device for which `is_it`.
    fn find(is_it: impl Fn(&Self) -> bool) -> Option<Self> {
        const ANY: c_uint = c_uint::MAX;
        let mut device = core::ptr::null_mut();
        loop {
            // SAFETY: `device` is null, or one with a reference of ours, which is given up; the next
            // one comes with a reference.
            device = unsafe { bindings::pci_get_device(ANY, ANY, device) };
            // INVARIANT: The reference is ours, and not given up by another call.
            let this = Self(NonNull::new(device)?);
            if is_it(&this) {
                return Some(this);
            }
            core::mem::forget(this);
        }
    }

    /// What of the addresses it has, or hands on.
    fn resources(&self) -> &[bindings::resource] {
        // SAFETY: The device is valid by the reference. Its resources are as its bus set them up, and a
        // change while we look has the same end as one right after.
        unsafe { &(*self.0.as_ptr()).resource }
    }

    /// Whether the range lies in one of its BARs.
    fn has_bar(&self, start: u64, size: u64) -> bool {
        /// Six BARs and the ROM; what a bridge hands on comes after them.
        const BARS: usize = 7;
        let memory = |it: &&bindings::resource| it.flags & bindings::IORESOURCE_MEM as c_ulong != 0;
        let last = start.saturating_add(size).saturating_sub(1);
        let mut bars = self.resources().iter().take(BARS).filter(memory);
        bars.any(|it| it.start <= start && last <= it.end)
    }

    /// Whether this very resource is one of its own.
    fn has_resource(&self, resource: *const bindings::resource) -> bool {
        self.resources().as_ptr_range().contains(&resource)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: By the invariants, `self` owns a reference.
        unsafe { bindings::pci_dev_put(self.0.as_ptr()) };
    }
}

/// Bytes that go through a buffer at a time: I/O memory cannot be copied to user space directly.
const CHUNK: usize = 256;

/// Calls `act` with a buffer for each chunk of `len` bytes, and where that chunk starts, until it does
/// less than the whole of one. Gives the bytes done.
fn through_buffer(len: usize, mut act: impl FnMut(usize, &mut [u8]) -> usize) -> usize {
    let mut buffer = Aligned([0; CHUNK]);
    let mut done: usize = 0;
    while done < len {
        let Some(part) = buffer.0.get_mut(..len.saturating_sub(done).min(CHUNK)) else {
            break;
        };
        let count = act(done, part);
        done = done.saturating_add(count);
        if count < part.len() {
            break;
        }
    }
    done
}

impl SharedMemory for IoMemory {
    fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize {
        let (start, len) = clamp(self.size, start, len);
        through_buffer(len, |done, part| {
            self.read(start.saturating_add(done), part);
            // SAFETY: `part` is valid for reading, and the iterator is a valid destination.
            unsafe { bindings::_copy_to_iter(part.as_ptr().cast(), part.len(), to.as_raw()) }
        })
    }

    fn copy_from(&self, start: usize, len: usize, from: &mut Source<'_>) -> usize {
        let (start, len) = clamp(self.size, start, len);
        through_buffer(len, |done, part| {
            let to = part.as_mut_ptr();
            // SAFETY: `part` is valid for writing, and the iterator is a valid source.
            let count = unsafe { bindings::_copy_from_iter(to.cast(), part.len(), from.as_raw()) };
            let part = part.get(..count).unwrap_or_default();
            self.write(start.saturating_add(done), part);
            count
        })
    }

    fn fill(&self, start: usize, len: usize, byte: u8) {
        let (start, len) = clamp(self.size, start, len);
        through_buffer(len, |done, part| {
            part.fill(byte);
            self.write(start.saturating_add(done), part);
            part.len()
        });
    }

    // Registers want to be accessed as the 32-bit words that most of them are. What is not a whole
    // word is accessed byte by byte.

    fn write(&self, start: usize, bytes: &[u8]) {
        let (start, len) = clamp(self.size, start, bytes.len());
        let mut at = start;
        for word in bytes.get(..len).unwrap_or_default().chunks(4) {
            // SAFETY: `clamp` keeps all of `bytes` inside the mapping.
            let to = unsafe { self.address.as_ptr().add(at) };
            match <[u8; 4]>::try_from(word) {
                // SAFETY: As above; the address is aligned.
                Ok(word) if to.cast::<u32>().is_aligned() => unsafe {
                    to.cast::<u32>().write_volatile(u32::from_ne_bytes(word));
                },
                // SAFETY: As above.
                _ => unsafe { super::memory::write_bytes(to, word) },
            }
            at = at.saturating_add(word.len());
        }
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        let (start, len) = clamp(self.size, start, bytes.len());
        let mut at = start;
        for word in bytes.get_mut(..len).unwrap_or_default().chunks_mut(4) {
            // SAFETY: `clamp` keeps all of `bytes` inside the mapping.
            let from = unsafe { self.address.as_ptr().add(at) };
            if word.len() == 4 && from.cast::<u32>().is_aligned() {
                // SAFETY: As above; the address is aligned.
                let value = unsafe { from.cast::<u32>().read_volatile() };
                for (to, from) in word.iter_mut().zip(value.to_ne_bytes()) {
                    *to = from;
                }
            } else {
                // SAFETY: As above.
                unsafe { super::memory::read_bytes(from, word) };
            }
            at = at.saturating_add(word.len());
        }
    }
}

/// A buffer for words.
#[repr(align(8))]
struct Aligned([u8; CHUNK]);

const _: () = assert!(PAGE_SIZE % CHUNK == 0);
