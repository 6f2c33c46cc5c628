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
    prelude::*,
    sync::Arc, //
};

use super::{
    cache::Cache,
    capability::RawMemory,
    helpers,
    iov::{
        Destination,
        Source, //
    },
    memory::{
        clamp,
        SharedMemory, //
    },
    pci::{
        PciDevice,
        StayLock, //
    },
    revocable::Revocable,
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
    /// Some of it is of what its owner may take back at any time, such as a bridge of the host's or a device of the
    /// firmware's.
    Foreign,
    /// There is no memory to note the claim in.
    NoMemory,
    /// The kernel could not map it.
    Unmappable,
}

/// A physical range, claimed and mapped into the kernel, until it is revoked.
///
/// # Invariants
///
/// `access` has a mapping of the range, of `size` bytes, with the mode `cache`, and the claim.
pub(crate) struct IoMemory {
    start: u64,
    size: usize,
    cache: Cache,
    access: Arc<Revocable>,
    /// What it belongs to, if that is a PCI device.
    device: Option<PciDevice>,
}

/// Where a physical range is mapped in the kernel, until this is dropped.
///
/// # Invariants
///
/// `address` is a mapping by `ioremap`.
pub(super) struct IoMapping {
    address: NonNull<u8>,
    /// Goes after the mapping.
    _claim: Claim,
}

// SAFETY: A mapping of the kernel belongs to no thread.
unsafe impl Send for IoMapping {}

// SAFETY: `&IoMapping` gives no access.
unsafe impl Sync for IoMapping {}

impl IoMemory {
    /// Claims, under a name, and maps `size` bytes, whole pages, from the physical address `start`.
    ///
    /// What a device does when its memory is written cannot be known here. That is why the task must have the
    /// right to use raw memory: the administrator who gave it answers for the device.
    pub(crate) fn new(
        _right: &RawMemory,
        name: &'static CStr,
        start: u64,
        size: usize,
        cache: Cache,
    ) -> Result<Self, Refusal> {
        match start.checked_add(size as u64) {
            Some(end) if size != 0 && end.wrapping_sub(1) <= helpers::last_address() => (),
            _ => return Err(Refusal::BeyondAddressWidth),
        }
        if has(start, size as u64, bindings::IORESOURCE_SYSTEM_RAM) {
            return Err(Refusal::SystemRam);
        }
        let claim = Claim::new(name, start, size as u64)?;
        // SAFETY: The range is addressable, not RAM, and claimed by us.
        let address = unsafe {
            match cache {
                Cache::Cached => helpers::ioremap_cache(start, size),
                Cache::WriteCombine => helpers::ioremap_wc(start, size),
                Cache::NonCached => bindings::ioremap(start, size),
            }
        };
        let device = claim.device.clone();
        // INVARIANT: It was just mapped.
        let mapping = IoMapping {
            address: NonNull::new(address.cast()).ok_or(Refusal::Unmappable)?,
            _claim: claim,
        };
        // INVARIANT: It is the mapping of this range.
        Ok(Self {
            start,
            size,
            cache,
            access: Revocable::new(Some(mapping)).map_err(|_| Refusal::NoMemory)?,
            device,
        })
    }

    /// What takes it away: the PCI device that it is of, if it is one's, and the right to access it.
    pub(crate) fn tie(&self) -> Option<(&PciDevice, &Arc<Revocable>)> {
        Some((self.device.as_ref()?, &self.access))
    }

    /// The physical address of its first byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Whether huge page-table entries can map some of it.
    pub(crate) fn has_huge(&self) -> bool {
        self.frame(0).is_some_and(|frame| frame.has_huge())
    }

    /// The page frame of its page `page`.
    pub(crate) fn frame(&self, page: usize) -> Option<Frame<'_>> {
        let start = page
            .checked_mul(PAGE_SIZE)
            .filter(|start| *start < self.size)?;
        let number = self.start.checked_add(start as u64)? >> PAGE_SIZE.ilog2();
        let run = self.size.wrapping_sub(start) / PAGE_SIZE;
        // SAFETY: The frames lie in the range, which is not RAM. Until it is revoked, it is claimed, and mapped into the
        // kernel with this cache mode by the type's invariant.
        Some(unsafe { Frame::new(number, run as u64, self.cache, &self.access) })
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

impl Drop for IoMapping {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, `address` is what `ioremap` gave, and nobody uses it after this.
        unsafe { bindings::iounmap(self.address.as_ptr().cast()) };
    }
}

/// An entry in the kernel's list of resources (`/proc/iomem`), taken out when dropped.
///
/// It hangs from another entry, which must not be freed before: from the list itself, from one of the firmware's,
/// which stay, or from one that is part of a PCI device (or of a bridge before it), which is kept. That one may leave the list
/// when the device is unplugged, with ours below it; so ours is never looked up by its range, which may be somebody
/// else's by then.
///
/// # Invariants
///
/// `entry` was made by `__request_region`, nobody else takes it out, and the entry that it hangs from lives as long
/// as `self`.
struct Claim {
    entry: NonNull<bindings::resource>,
    /// Goes after the entry.
    device: Option<PciDevice>,
}

// SAFETY: An entry belongs to no thread, and the list locks itself.
unsafe impl Send for Claim {}

impl Claim {
    fn new(name: &'static CStr, start: u64, size: u64) -> Result<Self, Refusal> {
        let _stay = StayLock::new();
        let range = Range { name, start, size };
        if let Some((device, parent)) = range.innermost() {
            // SAFETY: The entry is the device's, which is kept. While no device goes, it is in the list.
            let entry = unsafe { range.request_in(parent) }?;
            // INVARIANT: It hangs from the device's, which lives as long as the device.
            return Ok(Self {
                entry,
                device: Some(device),
            });
        }
        // SAFETY: This is the list itself.
        let entry = match unsafe { range.request_in(root()) } {
            Err(Refusal::Claimed) if range.is_reserved() => range.request_reserved()?,
            Err(Refusal::Claimed) if !has(start, size, bindings::IORESOURCE_BUSY) => {
                return Err(Refusal::Foreign);
            }
            entry => entry?,
        };
        // INVARIANT: It hangs from the list, or from one of the firmware's entries.
        Ok(Self {
            entry,
            device: None,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let entry = self.entry.as_ptr();
        // SAFETY: By the type's invariant, what the entry hangs from is valid, and once it is out, nobody
        // else has it; it was allocated by `kzalloc`.
        unsafe {
            bindings::release_resource(entry);
            bindings::kfree(entry.cast());
        }
    }
}

/// The root of the list, which is never freed.
fn root() -> NonNull<bindings::resource> {
    // SAFETY: A static is nowhere near null.
    unsafe { NonNull::new_unchecked(&raw mut bindings::iomem_resource) }
}

/// A range that is to be claimed.
struct Range {
    name: &'static CStr,
    start: u64,
    size: u64,
}

impl Range {
    fn last(&self) -> u64 {
        self.start.saturating_add(self.size).saturating_sub(1)
    }

    /// The innermost entry of a PCI device that has all of the range, and the device.
    fn innermost(&self) -> Option<(PciDevice, NonNull<bindings::resource>)> {
        let mut found = self.entry_where(|parent| !parent.is_null())?;
        while let Some(inner) = self.entry_where(|parent| parent == found.1.as_ptr()) {
            found = inner;
        }
        Some(found)
    }

    /// An entry of a PCI device that has all of the range and hangs from one that `is_parent`.
    fn entry_where(
        &self,
        is_parent: impl Fn(*mut bindings::resource) -> bool,
    ) -> Option<(PciDevice, NonNull<bindings::resource>)> {
        const MEMORY: c_ulong = bindings::IORESOURCE_MEM as c_ulong;
        PciDevice::find(|device| {
            let is_it = |entry: &NonNull<bindings::resource>| {
                let entry = entry.as_ptr();
                // SAFETY: The entry is the device's. Its range and its place change only where devices
                // come and go, which waits for the lock that the caller has.
                let (start, end, flags, parent) = unsafe {
                    (
                        (*entry).start,
                        (*entry).end,
                        (*entry).flags,
                        (*entry).parent,
                    )
                };
                let is_around = start <= self.start && self.last() <= end;
                is_around && flags & MEMORY != 0 && is_parent(parent)
            };
            device.resources().find(is_it)
        })
    }

    /// Makes an entry directly below `parent`. Where part of the range is somebody's already, it is refused, also
    /// to those who could share it: they may have it from a driver that goes.
    ///
    /// # Safety
    ///
    /// `parent` must be valid, and in the list, for the call.
    unsafe fn request_in(
        &self,
        parent: NonNull<bindings::resource>,
    ) -> Result<NonNull<bindings::resource>, Refusal> {
        // An entry of our own that says where: below it, `__request_region` finds nothing else.
        let place = bindings::resource {
            start: self.start,
            end: self.last(),
            name: self.name.as_char_ptr(),
            flags: bindings::IORESOURCE_MEM as c_ulong,
            ..Default::default()
        };
        let mut place = KBox::new(place, GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
        // SAFETY: The caller promises the parent. The place is filled in, and stays until it is removed.
        if unsafe { bindings::request_resource(parent.as_ptr(), &mut *place) } != 0 {
            return Err(Refusal::Claimed);
        }
        let entry = self.request();
        // SAFETY: The place is in the list, below the parent. What is below it moves up.
        unsafe { bindings::remove_resource(&mut *place) };
        entry
    }

    /// Whether all of the range was reserved by the firmware, whose entries are never freed.
    fn is_reserved(&self) -> bool {
        const MEMORY: c_ulong = bindings::IORESOURCE_MEM as c_ulong;
        const RESERVED: c_ulong = bindings::IORES_DESC_RESERVED as c_ulong;
        // SAFETY: Takes any range.
        let intersection = unsafe {
            bindings::region_intersects(self.start, self.size as usize, MEMORY, RESERVED)
        };
        intersection == bindings::REGION_INTERSECTS as c_int
    }

    /// Makes an entry below one of the firmware's.
    fn request_reserved(&self) -> Result<NonNull<bindings::resource>, Refusal> {
        let entry = self.request().map_err(|refusal| match refusal {
            // Or it lies across the border of what is in there, such as a BAR, which the kernel answers in the same way.
            Refusal::NoMemory => Refusal::Foreign,
            other => other,
        })?;
        // SAFETY: The entry is ours, and has the description of what it hangs from.
        if unsafe { (*entry.as_ptr()).desc } == bindings::IORES_DESC_RESERVED as c_ulong {
            return Ok(entry);
        }
        // SAFETY: The entry is ours. What it hangs from was there a moment ago: below what the firmware reserves,
        // Linux 7.3 has nothing that is taken back.
        unsafe {
            bindings::release_resource(entry.as_ptr());
            bindings::kfree(entry.as_ptr().cast());
        }
        Err(Refusal::Foreign)
    }

    /// Makes an entry below the innermost one that is not busy.
    fn request(&self) -> Result<NonNull<bindings::resource>, Refusal> {
        let (start, size) = (self.start, self.size);
        // SAFETY: The list is the kernel's own, and the name lives as long as the module, which outlives
        // the entry.
        let entry = unsafe {
            bindings::__request_region(root().as_ptr(), start, size, self.name.as_char_ptr(), 0)
        };
        // The kernel does not tell why not.
        NonNull::new(entry).ok_or_else(|| match has(start, size, bindings::IORESOURCE_BUSY) {
            true => Refusal::Claimed,
            false => Refusal::NoMemory,
        })
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

impl IoMemory {
    // Registers want to be accessed as the 32-bit words that most of them are. What is not a whole
    // word is accessed byte by byte. The kernel's accessors are instructions that a hypervisor can emulate.

    /// Puts `bytes` at `start`; whether that was allowed.
    fn store(&self, start: usize, bytes: &[u8]) -> bool {
        let access = self.access.access();
        let Some(mapping) = access.as_ref().and_then(|access| access.mapping()) else {
            return false;
        };
        let (start, len) = clamp(self.size, start, bytes.len());
        let mut at = start;
        for word in bytes.get(..len).unwrap_or_default().chunks(4) {
            // SAFETY: `clamp` keeps all of `bytes` inside the mapping, which has `size` bytes by the type's invariant.
            let to = unsafe { mapping.address.as_ptr().add(at) };
            match <[u8; 4]>::try_from(word) {
                // SAFETY: The word of four bytes lies in the mapping, at an aligned address.
                Ok(word) if to.cast::<u32>().is_aligned() => unsafe {
                    bindings::writel(u32::from_le_bytes(word), to.cast());
                },
                _ => {
                    for (index, byte) in (0..word.len()).zip(word) {
                        // SAFETY: As many bytes as `word` has lie in the mapping from `to` on.
                        unsafe { bindings::writeb(*byte, to.add(index).cast()) };
                    }
                }
            }
            at = at.saturating_add(word.len());
        }
        true
    }

    /// Reads the bytes at `start` into `bytes`; whether that was allowed.
    fn load(&self, start: usize, bytes: &mut [u8]) -> bool {
        let access = self.access.access();
        let Some(mapping) = access.as_ref().and_then(|access| access.mapping()) else {
            return false;
        };
        let (start, len) = clamp(self.size, start, bytes.len());
        let mut at = start;
        for word in bytes.get_mut(..len).unwrap_or_default().chunks_mut(4) {
            // SAFETY: `clamp` keeps all of `bytes` inside the mapping, which has `size` bytes by the type's invariant.
            let from = unsafe { mapping.address.as_ptr().add(at) };
            if word.len() == 4 && from.cast::<u32>().is_aligned() {
                // SAFETY: The word of four bytes lies in the mapping, at an aligned address.
                let value = unsafe { bindings::readl(from.cast()) };
                for (to, from) in word.iter_mut().zip(value.to_le_bytes()) {
                    *to = from;
                }
            } else {
                for (index, to) in (0..word.len()).zip(word.iter_mut()) {
                    // SAFETY: As many bytes as `word` has lie in the mapping from `from` on.
                    *to = unsafe { bindings::readb(from.add(index).cast()) };
                }
            }
            at = at.saturating_add(word.len());
        }
        true
    }
}

/// What is revoked is left alone: a copy ends there.
impl SharedMemory for IoMemory {
    fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize {
        let (start, len) = clamp(self.size, start, len);
        through_buffer(len, |done, part| {
            if !self.load(start.saturating_add(done), part) {
                return 0;
            }
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
            match self.store(start.saturating_add(done), part) {
                true => count,
                false => 0,
            }
        })
    }

    fn fill(&self, start: usize, len: usize, byte: u8) {
        let (start, len) = clamp(self.size, start, len);
        through_buffer(len, |done, part| {
            part.fill(byte);
            match self.store(start.saturating_add(done), part) {
                true => part.len(),
                false => 0,
            }
        });
    }

    fn write(&self, start: usize, bytes: &[u8]) {
        self.store(start, bytes);
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        self.load(start, bytes);
    }
}

/// A buffer for words.
#[repr(align(8))]
struct Aligned([u8; CHUNK]);

const _: () = assert!(PAGE_SIZE % CHUNK == 0);
