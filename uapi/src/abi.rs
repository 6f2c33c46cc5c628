// SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT

//! Numbers, structures and flags of the chrmem ioctl interface.
//!
//! This file is compiled twice: into the kernel module and into the `chrmem-uapi` crate. It uses
//! `core` only. Every structure has the same layout for 32-bit and 64-bit callers. Fields called
//! `flags` and `reserved` must be zero on the way in, or the call fails with `EINVAL`, and are zero
//! on the way out. An unknown command fails with `ENOTTY`.
//!
//! The same contract in C: `uapi/include/linux/chrmem.h`.

/// Version of this interface, as told by [`INFO`].
pub const VERSION: u32 = 1;

/// Name of the character-device region, as `/proc/devices` shows it.
pub const REGION_NAME: &str = "chrmem_dev";

/// The ioctl type byte ("magic") of every command except [`MEM_CLEAR`] and [`MEM_RESET`].
pub const MAGIC: u8 = 0xD0;

/// Zero every window: the bare number that driver textbooks use. No argument.
pub const MEM_CLEAR: u32 = 0x0;

/// Zero every window, then put [`RESET_TEXT`] at the start of the first: the bare number that
/// driver textbooks use. No argument.
pub const MEM_RESET: u32 = 0x1;

/// Describe the device. Argument: [`Info`], out.
pub const INFO: u32 = ioctl::<Info>(OUT, 0);

/// Describe one window, chosen by [`Window::index`]; no such window is `EINVAL`.
/// Argument: [`Window`], in and out.
pub const WINDOW: u32 = ioctl::<Window>(IN | OUT, 1);

/// Zero a range. Argument: [`Range`], in.
pub const CLEAR: u32 = ioctl::<Range>(IN, 2);

/// The same as [`MEM_RESET`]. No argument.
pub const RESET: u32 = ioctl::<()>(NONE, 3);

/// Add one to the generation and wake pollers. No argument.
pub const NOTIFY: u32 = ioctl::<()>(NONE, 4);

/// Read the generation and mark it seen by this open file, which ends its readiness to poll.
/// Argument: `u64`, out.
pub const SEEN: u32 = ioctl::<u64>(OUT, 5);

/// Begin or end an access by the processor to a range that devices use too, as the `SYNC_*` flags
/// say. The file must be open for that access. Argument: [`Range`], in.
pub const SYNC: u32 = ioctl::<Range>(IN, 6);

/// Export a page-aligned range of one window as a dma-buf; the result of the call is its file
/// descriptor, closed on exec, and as writable as this open file and the window are. Other drivers can
/// only import one that is writable.
/// Argument: [`Range`], in, with no flags.
pub const EXPORT: u32 = ioctl::<Range>(IN, 7);

/// Tell which pages of tracked windows may have changed, and have the next store to each page be noticed. A look marks the
/// generation that was before it seen by this open file. The file must be open for reading. A range without a tracked window is `EOPNOTSUPP`; one that is empty or runs past the
/// device's end, no room, and a generation that has not been are `EINVAL`.
/// Argument: [`Changes`], in and out.
pub const CHANGES: u32 = ioctl::<Changes>(IN | OUT, 8);

/// [`SYNC`]: the processor reads. At least one of this and [`SYNC_WRITE`] must be given.
pub const SYNC_READ: u32 = 1;
/// [`SYNC`]: the processor writes, for which file and windows must be writable.
pub const SYNC_WRITE: u32 = 2;
/// [`SYNC`]: the access ends. Without it, it begins.
pub const SYNC_END: u32 = 4;

/// What [`MEM_RESET`] and [`RESET`] put at the start of the first window.
pub const RESET_TEXT: &[u8] = b"hello, user!\0";

/// What a new plain device's first hundredth is filled with.
pub const FILL: u8 = b'*';

/// Bytes of [`Window::name`], its terminating NUL included.
pub const NAME_SIZE: usize = 64;

/// [`Window::memory`]: ordinary kernel pages.
pub const MEMORY_PAGES: u32 = 0;
/// [`Window::memory`]: one physically contiguous run of RAM.
pub const MEMORY_CONTIGUOUS: u32 = 1;
/// [`Window::memory`]: coherent DMA memory.
pub const MEMORY_DMA: u32 = 2;
/// [`Window::memory`]: a physical address range that is not RAM.
pub const MEMORY_PHYSICAL: u32 = 3;

/// [`Window::cache`]: cached like any memory.
pub const CACHE_CACHED: u32 = 0;
/// [`Window::cache`]: uncached, stores combined.
pub const CACHE_WRITECOMBINE: u32 = 1;
/// [`Window::cache`]: uncached.
pub const CACHE_NONCACHED: u32 = 2;

/// [`Window::access`], a bit: the window can be read.
pub const ACCESS_READ: u32 = 1;
/// [`Window::access`], a bit: the window can be written.
pub const ACCESS_WRITE: u32 = 2;

/// [`Window::address`]: not one address, or not for this caller to know.
pub const ADDRESS_UNKNOWN: u64 = u64::MAX;

/// [`Window::flags`], a bit: stores into the window are noticed, see [`CHANGES`].
pub const WINDOW_TRACKED: u32 = 1;
/// [`Window::flags`], a bit: the window's memory belongs to hardware that can go: then it is taken away.
pub const WINDOW_REVOCABLE: u32 = 2;
/// [`Window::flags`], a bit: the hardware is gone, and so is the window's memory, for good.
pub const WINDOW_GONE: u32 = 4;

/// What [`INFO`] tells of a device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Version of this interface: [`VERSION`].
    pub version: u32,
    /// Number of windows.
    pub windows: u32,
    /// Size of the device in bytes: the end of its last window.
    pub size: u64,
    /// The change counter: every clear, reset, `write(2)` and [`NOTIFY`] adds one. With tracked windows they add more, and so
    /// does a store that is noticed.
    pub generation: u64,
    /// The page size in bytes, a power of two: offsets of mappings are multiples of it.
    pub page_size: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// What [`WINDOW`] tells of one window.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// In: which window, counted from zero in order of offset.
    pub index: u32,
    /// In: zero. Out: `WINDOW_*` bits.
    pub flags: u32,
    /// Where in the device the window starts, in bytes; a multiple of the page size.
    pub offset: u64,
    /// Bytes; a multiple of the page size.
    pub size: u64,
    /// Physical address or, for [`MEMORY_DMA`], bus address; [`ADDRESS_UNKNOWN`] if there is no
    /// single one or the caller lacks `CAP_SYS_RAWIO`.
    pub address: u64,
    /// One of `MEMORY_*`.
    pub memory: u32,
    /// One of `CACHE_*`.
    pub cache: u32,
    /// `ACCESS_*` bits.
    pub access: u32,
    /// Zero, in and out.
    pub reserved: [u32; 5],
    /// The name, ended by a NUL.
    pub name: [u8; NAME_SIZE],
}

/// A range of a device's offsets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Bytes; zero is `EINVAL`.
    pub size: u64,
    /// For [`SYNC`], `SYNC_*` bits; else zero.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// What [`CHANGES`] asks, and is told.
///
/// Where all of the range has not been looked at, the call leaves in the structure what asks for the rest: call again with it as
/// it is, until `size` is zero. Only then is the look complete.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In: which changes: those after this generation. Zero is all since the device was made.
    pub since: u64,
    /// In: zero, or what it was after the call that this one goes on with. Out: the generation that the look is complete up to:
    /// what the next look is told as `since`.
    pub generation: u64,
    /// In: first byte. Out: first byte that was not looked at.
    pub offset: u64,
    /// In: bytes; zero is `EINVAL`. Out: bytes that were not looked at.
    pub size: u64,
    /// In: address of an array of [`Change`].
    pub changes: u64,
    /// In: elements of the array; zero is `EINVAL`.
    pub room: u32,
    /// Out: elements that were filled in.
    pub count: u32,
    /// In: zero.
    pub flags: u32,
    /// Zero, in and out.
    pub reserved: [u32; 3],
}

/// Bytes of one tracked window that may have changed, one page after the other; an element of what [`CHANGES`] tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// First byte, counted from the start of the device.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            index: 0,
            flags: 0,
            offset: 0,
            size: 0,
            address: 0,
            memory: 0,
            cache: 0,
            access: 0,
            reserved: [0; 5],
            name: [0; NAME_SIZE],
        }
    }
}

const NONE: u32 = 0;
/// The argument goes into the kernel: `_IOC_WRITE`.
const IN: u32 = 1;
/// The argument comes out of the kernel: `_IOC_READ`.
const OUT: u32 = 2;

/// The `_IOC` of `asm-generic/ioctl.h`.
const fn ioctl<T>(direction: u32, number: u8) -> u32 {
    // CAST: arguments are far smaller than the 14 bits that hold their size.
    direction << 30 | (size_of::<T>() as u32) << 16 | (MAGIC as u32) << 8 | number as u32
}

const _: () = {
    use core::mem::offset_of;

    assert!(size_of::<Info>() == 64 && offset_of!(Info, page_size) == 24);
    assert!(size_of::<Window>() == 128 && offset_of!(Window, name) == 64);
    assert!(size_of::<Range>() == 24);
    assert!(size_of::<Changes>() == 64 && offset_of!(Changes, reserved) == 52);
    assert!(size_of::<Change>() == 16);
};
