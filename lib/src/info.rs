// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a device tells of itself and of its windows.

use crate::raw::Backing;
use chrmem_uapi::abi;
use std::fmt;
use std::ops::Range;

/// What a device tells of itself.
///
/// ```no_run
/// let info = chrmem::Device::open("/dev/chrmem0")?.info()?;
/// assert_eq!((info.size, info.windows), (4096, 1));
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Version of the driver's interface; this library was written for version 1.
    pub version: u32,
    /// Size of the device in bytes: the end of its last window.
    pub size: u64,
    /// Number of windows.
    pub windows: u32,
    /// The change counter: every clear, reset, write and notify adds one. Stores through a mapping
    /// do not, unless its window is tracked.
    pub generation: u64,
    /// The page size in bytes: every window starts and ends at a multiple of it.
    pub page_size: u64,
}

impl From<abi::Info> for Info {
    fn from(info: abi::Info) -> Self {
        Self {
            version: info.version,
            size: info.size,
            windows: info.windows,
            generation: info.generation,
            page_size: info.page_size,
        }
    }
}

/// A range of a device's offsets with memory behind it.
///
/// ```no_run
/// let window = chrmem::Device::open("/dev/chrmem0")?.window(0)?;
/// assert_eq!((window.name.as_str(), window.range()), ("buffer", 0..4096));
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// Its place among the device's windows, counted from zero in order of offset.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Where in the device it starts, in bytes; a multiple of the page size.
    pub offset: u64,
    /// Bytes; a multiple of the page size.
    pub size: u64,
    /// Where its bytes are.
    pub memory: MemoryKind,
    /// How its mappings are cached.
    pub cache: CacheMode,
    /// What may be done with it.
    pub access: Access,
    /// Its physical address or, for [`MemoryKind::Dma`], its bus address. `None` if it has no
    /// single one or the caller lacks `CAP_SYS_RAWIO`.
    pub address: Option<u64>,
    /// Whether stores into it are noticed: [`Device::changes`](crate::Device::changes) tells them.
    pub tracked: bool,
    /// Whether its memory belongs to hardware that can be unplugged, or unbound from its driver: then it is taken
    /// away, also from mappings.
    pub revocable: bool,
    /// Whether it was. It stays so: the device has to be destroyed, and made again.
    pub gone: bool,
}

impl Window {
    /// What is behind a mapping of it.
    pub(crate) fn backing(&self) -> Backing {
        let is_memory = matches!(
            self.memory,
            MemoryKind::Pages | MemoryKind::Contiguous | MemoryKind::Dma
        );
        match (is_memory && self.cache == CacheMode::Cached, self.revocable) {
            (true, false) => Backing::Ram,
            (true, true) => Backing::RevocableRam,
            (false, false) => Backing::Device,
            (false, true) => Backing::RevocableDevice,
        }
    }

    /// The device's offsets that the window covers.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// let window = device.window(0)?;
    /// let memory = device.map(window.range())?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.size)
    }
}

impl From<abi::Window> for Window {
    fn from(window: abi::Window) -> Self {
        let name = window
            .name
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        Self {
            index: window.index,
            name: String::from_utf8_lossy(name).into_owned(),
            offset: window.offset,
            size: window.size,
            memory: window.memory.into(),
            cache: window.cache.into(),
            access: window.access.into(),
            address: (window.address != abi::ADDRESS_UNKNOWN).then_some(window.address),
            tracked: window.flags & abi::WINDOW_TRACKED != 0,
            revocable: window.flags & abi::WINDOW_REVOCABLE != 0,
            gone: window.flags & abi::WINDOW_GONE != 0,
        }
    }
}

/// Where a window's bytes are.
///
/// ```
/// assert_eq!(chrmem::MemoryKind::Pages.to_string(), "pages");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryKind {
    /// Ordinary kernel pages.
    Pages,
    /// One physically contiguous run of RAM.
    Contiguous,
    /// Coherent DMA memory.
    Dma,
    /// A physical address range that is not RAM: a PCI BAR, a reserved region.
    Physical,
    /// A kind that this library does not know yet, by its number.
    Other(u32),
}

impl From<u32> for MemoryKind {
    fn from(number: u32) -> Self {
        match number {
            abi::MEMORY_PAGES => Self::Pages,
            abi::MEMORY_CONTIGUOUS => Self::Contiguous,
            abi::MEMORY_DMA => Self::Dma,
            abi::MEMORY_PHYSICAL => Self::Physical,
            other => Self::Other(other),
        }
    }
}

/// The driver's own word for it: `pages`, `contiguous`, `dma`, `physical`.
impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages => f.pad("pages"),
            Self::Contiguous => f.pad("contiguous"),
            Self::Dma => f.pad("dma"),
            Self::Physical => f.pad("physical"),
            Self::Other(number) => f.pad(&format!("memory-{number}")),
        }
    }
}

/// How a window's mappings are cached, the same in every process.
///
/// ```
/// assert_eq!(chrmem::CacheMode::WriteCombine.to_string(), "writecombine");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheMode {
    /// Like any memory.
    Cached,
    /// Not, but stores are combined.
    WriteCombine,
    /// Not at all.
    NonCached,
    /// A mode that this library does not know yet, by its number.
    Other(u32),
}

impl From<u32> for CacheMode {
    fn from(number: u32) -> Self {
        match number {
            abi::CACHE_CACHED => Self::Cached,
            abi::CACHE_WRITECOMBINE => Self::WriteCombine,
            abi::CACHE_NONCACHED => Self::NonCached,
            other => Self::Other(other),
        }
    }
}

/// The driver's own word for it: `cached`, `writecombine`, `noncached`.
impl fmt::Display for CacheMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cached => f.pad("cached"),
            Self::WriteCombine => f.pad("writecombine"),
            Self::NonCached => f.pad("noncached"),
            Self::Other(number) => f.pad(&format!("cache-{number}")),
        }
    }
}

/// What may be done with a window.
///
/// ```
/// let access = chrmem::Access { read: true, write: false };
/// assert_eq!(access.to_string(), "ro");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

impl From<u32> for Access {
    fn from(bits: u32) -> Self {
        Self {
            read: bits & abi::ACCESS_READ != 0,
            write: bits & abi::ACCESS_WRITE != 0,
        }
    }
}

/// The driver's own word for it: `rw`, `ro`, `wo`, or `-` for a window that can be neither read nor
/// written.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match (self.read, self.write) {
            (true, true) => "rw",
            (true, false) => "ro",
            (false, true) => "wo",
            (false, false) => "-",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_the_driver_said() {
        let mut raw = abi::Window {
            index: 3,
            offset: 4096,
            size: 8192,
            address: abi::ADDRESS_UNKNOWN,
            memory: abi::MEMORY_DMA,
            cache: abi::CACHE_WRITECOMBINE,
            access: abi::ACCESS_READ,
            ..Default::default()
        };
        raw.name[..6].copy_from_slice(b"buffer");
        let window = Window::from(raw);
        assert_eq!((window.index, window.name.as_str()), (3, "buffer"));
        assert_eq!(window.range(), 4096..12288);
        assert_eq!(window.address, None);
        assert!(!window.tracked && !window.revocable && !window.gone);
        assert_eq!(window.backing(), Backing::Device);
        assert_eq!(window.memory, MemoryKind::Dma);
        assert_eq!(window.cache, CacheMode::WriteCombine);
        assert_eq!(
            window.access,
            Access {
                read: true,
                write: false
            }
        );

        raw.address = 0;
        assert_eq!(Window::from(raw).address, Some(0));

        raw.flags = abi::WINDOW_TRACKED;
        assert!(Window::from(raw).tracked);

        raw.flags = abi::WINDOW_REVOCABLE | abi::WINDOW_GONE;
        let window = Window::from(raw);
        assert!(!window.tracked && window.revocable && window.gone);
        assert_eq!(window.backing(), Backing::RevocableDevice);
        raw.cache = abi::CACHE_CACHED;
        assert_eq!(Window::from(raw).backing(), Backing::RevocableRam);
        raw.memory = abi::MEMORY_PHYSICAL;
        assert_eq!(Window::from(raw).backing(), Backing::RevocableDevice);
        (raw.memory, raw.flags) = (abi::MEMORY_PAGES, 0);
        assert_eq!(Window::from(raw).backing(), Backing::Ram);
    }

    #[test]
    fn a_name_without_an_end_is_taken_whole() {
        let raw = abi::Window {
            name: [b'x'; abi::NAME_SIZE],
            ..Default::default()
        };
        assert_eq!(Window::from(raw).name, "x".repeat(abi::NAME_SIZE));
    }

    #[test]
    fn what_a_newer_driver_says_is_kept() {
        assert_eq!(MemoryKind::from(77), MemoryKind::Other(77));
        assert_eq!(CacheMode::from(77).to_string(), "cache-77");
    }

    #[test]
    fn words_can_be_padded() {
        assert_eq!(format!("{:10}|", MemoryKind::Pages), "pages     |");
        assert_eq!(
            format!(
                "{:>4}",
                Access {
                    read: true,
                    write: true
                }
            ),
            "  rw"
        );
    }
}
