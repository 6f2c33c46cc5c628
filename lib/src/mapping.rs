// SPDX-License-Identifier: MIT OR Apache-2.0

//! A file's memory in this process.

use crate::array::Array;
use crate::atomic::Atomic;
use crate::error::{Error, Result};
use crate::raw::{Pages, Word};
use crate::view::View;
use rustix::fd::AsFd;
use std::ops::RangeBounds;
use std::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A range of a device's or another file's bytes, mapped into this process until it is dropped.
/// [`Device::map`](crate::Device::map) and [`MapOptions`](crate::MapOptions) make it.
///
/// What is stored here is in the device at once, and what others do to the device is seen here at
/// once: there is no copy of the bytes, unless the mapping was asked to be
/// [`private`](crate::MapOptions::private). Closing the [`Device`](crate::Device) does not end a mapping.
///
/// Others may write at any time, so the bytes of one copy can be a mixture of old and new ones, and
/// two copies of the same bytes can differ. Aligned integers of up to eight bytes are whole: in values that are
/// [`read`](Self::read) and [`written`](Self::write), and in all copies of a device's memory. Copies of RAM
/// ([`copy_to`](Self::copy_to), [`copy_from`](Self::copy_from)) are made in the quickest way, and promise nothing.
///
/// A mapping may be used by several threads at the same time. A child made by `fork` has it too.
///
/// # Hardware that goes
///
/// Memory of hardware is taken away from all mappings when the hardware is unplugged, or unbound from its driver:
/// windows that are [`revocable`](crate::Window::revocable), and files of other drivers. Then an access finds
/// zeroes, and gives an error, [`Error::Revoked`]; so does every later one. What gives no result of its own, as an
/// [`Atomic`]'s methods and code that uses [`as_ptr`](Self::as_ptr), also finds zeroes: ask [`check`](Self::check) afterwards.
/// A store that the hardware no longer gets may only be noticed by the next access.
///
/// For that, the first such mapping of a process installs a handler of `SIGBUS`, which stays. A process that maps RAM
/// only never gets one. The handler replaces a mapping whose memory was taken away by zeroes of the process's own. All
/// other signals go on to the handler that was there before, or have their default effect: a program's own faults are its
/// own. A handler that is installed later must call the one that it replaces, as this one does. A thread must not block
/// `SIGBUS`: the kernel ends the process then. Programs that want no handler map by
/// [`map_plain`](crate::MapOptions::map_plain).
///
/// ```
/// use chrmem::Mapping;
///
/// let memory = Mapping::anonymous(4096)?;
/// memory.copy_from(10, b"some bytes")?;
/// memory.write(20, &7_u32)?;
/// assert_eq!(memory.read::<u32>(20)?, 7);
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Debug)]
pub struct Mapping {
    pages: Pages,
    /// Where in the file the range starts, in bytes.
    offset: u64,
}

impl Mapping {
    /// The range of `pages`, which starts at `offset` in the file.
    pub(crate) fn new(pages: Pages, offset: u64) -> Self {
        Self { pages, offset }
    }

    /// `len` zeroes that belong to this process alone: memory for tests and examples, where there is
    /// no device.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] if `len` is zero, `NOMEM` if there is not that much memory.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// memory.copy_from(50, b"text")?;
    /// assert_eq!(memory.c_string(50)?, b"text");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn anonymous(len: usize) -> Result<Self> {
        if len == 0 {
            return Err(Error::EmptyRange { start: 0, end: 0 });
        }
        match Pages::anonymous(len) {
            Ok(pages) => Ok(Self::new(pages, 0)),
            Err(errno) => Err(Error::Refused {
                tried: format!("map {len} bytes of memory"),
                errno,
            }),
        }
    }

    /// How many bytes are mapped: exactly the range that was asked for, never zero.
    ///
    /// ```
    /// assert_eq!(chrmem::Mapping::anonymous(100)?.len(), 100);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether nothing is mapped, which is never the case.
    ///
    /// ```
    /// assert!(!chrmem::Mapping::anonymous(100)?.is_empty());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where in the device or file the mapping starts, in bytes.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// assert_eq!(device.map(100..200)?.offset(), 100);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether [`copy_from`](Self::copy_from) is possible: not if the device was opened read-only, or
    /// the mapping was asked to be.
    ///
    /// ```
    /// assert!(chrmem::Mapping::anonymous(100)?.is_writable());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.all().is_writable()
    }

    /// Whether the mapping's bytes can go away, because its file can become shorter or its disk can fail. Then
    /// every access is a system call, and atomic ones are not possible:
    /// [`MapOptions::map_file`](crate::MapOptions::map_file) says more.
    ///
    /// ```
    /// assert!(!chrmem::Mapping::anonymous(100)?.can_shrink());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn can_shrink(&self) -> bool {
        self.all().can_shrink()
    }

    /// Fails if an access up to now, by any thread, found that the mapping's memory was taken away: see
    /// [above](Mapping#hardware-that-goes). For accesses that give no result of their own.
    ///
    /// This accesses nothing. [`Device::window`](crate::Device::window) tells whether the hardware is gone, also where nobody
    /// has accessed it since.
    ///
    /// # Errors
    ///
    /// [`Error::Revoked`].
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let status = memory.atomic::<u32>(16)?.load(Ordering::Acquire);
    /// // If the hardware was gone, it is no status.
    /// memory.check()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.all().check()
    }

    /// All of it, as a view.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert_eq!(memory.all().len(), 100);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn all(&self) -> View<'_> {
        View::new(self.pages.span())
    }

    /// A part of it. The bounds are checked here, and not again.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if the range does not lie in the mapping, or ends before it starts.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert_eq!(memory.view(10..20)?.len(), 10);
    /// assert!(memory.view(10..101).is_err());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn view(&self, range: impl RangeBounds<usize>) -> Result<View<'_>> {
        self.all().view(range)
    }

    /// Copies the bytes of the mapping from `offset` on into `target`, filling it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`; nothing is copied then.
    /// [`Error::Gone`] if the file has become shorter, [`Error::Revoked`] if the hardware is gone.
    ///
    /// ```no_run
    /// let memory = chrmem::Device::open("/dev/chrmem0")?.map(..)?;
    /// let mut header = [0; 16];
    /// memory.copy_to(0, &mut header)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_to(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        self.all().copy_to(offset, target)
    }

    /// Copies `source` over the bytes of the mapping from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`; [`Error::ReadOnly`] if the
    /// device was opened read-only; nothing is copied then. [`Error::Gone`] if the file has become
    /// shorter, [`Error::Revoked`] if the hardware is gone.
    ///
    /// ```no_run
    /// let memory = chrmem::Device::open("/dev/chrmem0")?.map(..)?;
    /// memory.copy_from(100, b"at byte one hundred")?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_from(&self, offset: usize, source: &[u8]) -> Result<()> {
        self.all().copy_from(offset, source)
    }

    /// The bytes from `offset` on up to the first NUL, without it, or up to the end of the mapping
    /// if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if `offset` lies behind the end of the mapping, [`Error::Gone`] if the
    /// file has become shorter.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// device.reset()?;
    /// assert_eq!(device.map(..)?.c_string(0)?, b"hello, user!");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn c_string(&self, offset: usize) -> Result<Vec<u8>> {
        self.all().c_string(offset)
    }

    /// The value at `offset`: see [`View::read`].
    ///
    /// # Errors
    ///
    /// As [`copy_to`](Self::copy_to).
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.read::<[f32; 2]>(8)?, [0.0, 0.0]);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        self.all().read(offset)
    }

    /// Stores a value at `offset`: see [`View::write`].
    ///
    /// # Errors
    ///
    /// As [`copy_from`](Self::copy_from).
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.write(8, &1.5_f64)?;
    /// assert_eq!(memory.read::<f64>(8)?, 1.5);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&self, offset: usize, value: &T) -> Result<()> {
        self.all().write(offset, value)
    }

    /// The bytes as an array of `T`: see [`View::array`].
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let samples = memory.array::<i16>();
    /// samples.set(100, &-1)?;
    /// assert_eq!(samples.get(100)?, -1);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn array<T: FromBytes + IntoBytes + Immutable>(&self) -> Array<'_, T> {
        self.all().array()
    }

    /// Loads the integer at `offset` as a whole: see [`View::load`].
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], [`Error::Misaligned`], [`Error::CanShrink`], [`Error::Revoked`].
    ///
    /// # Panics
    ///
    /// If `order` is none for a load, as those of [`std::sync::atomic`].
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.load::<u32>(64, Ordering::Acquire)?, 0);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn load<W: Word>(&self, offset: usize, order: Ordering) -> Result<W> {
        self.all().load(offset, order)
    }

    /// Stores an integer at `offset` as a whole: see [`View::store`].
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and [`Error::ReadOnly`].
    ///
    /// # Panics
    ///
    /// If `order` is none for a store, as those of [`std::sync::atomic`].
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.store(64, -7_i64, Ordering::Release)?;
    /// assert_eq!(memory.read::<i64>(64)?, -7);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn store<W: Word>(&self, offset: usize, value: W, order: Ordering) -> Result<()> {
        self.all().store(offset, value, order)
    }

    /// The integer at `offset`, for atomic accesses: see [`View::atomic`].
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store).
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert!(!memory.atomic::<u8>(3)?.swap(1, Ordering::AcqRel) == 255);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn atomic<W: Word>(&self, offset: usize) -> Result<Atomic<'_, W>> {
        self.all().atomic(offset)
    }

    /// Writes all bytes to a file, without a copy in this process but of a device: see [`View::write_to`].
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the mapping's file has become shorter, [`Error::Revoked`] if its hardware is gone, or what `write(2)`
    /// answers.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(7)?;
    /// memory.copy_from(0, b"Hello!\n")?;
    /// memory.write_to(std::io::stdout())?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn write_to(&self, file: impl AsFd) -> Result<()> {
        self.all().write_to(file)
    }

    /// Where in this process the mapping's first byte is.
    ///
    /// For what this library does not offer: to hand the address to a system call, or to code that
    /// can promise more about who writes when. It is valid for [`len`](Self::len) bytes until the
    /// mapping is dropped. To make a reference from it is wrong as long as anyone may write;
    /// [`View::as_slice`] says what has to be promised.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert!(!memory.as_ptr().is_null());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.all().as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{Backing, Terms};
    use rustix::fd::OwnedFd;
    use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
    use rustix::param::page_size;
    use std::process::Command;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    const SIZE: usize = 1 << 20;

    /// Whether a test has its process for itself. If not, it runs in one of its own: other tests use a library that
    /// handles SIGBUS without regard for others.
    fn is_alone(test: &str) -> bool {
        const ALONE: &str = "CHRMEM_TEST_IS_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("mapping::tests::{test}")]);
        let output = command.env(ALONE, "").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {text}", output.status);
        assert!(text.contains("1 passed"), "{text}");
        false
    }

    /// What stands in for hardware: it goes when it becomes shorter. All its bytes are sevens.
    fn hardware(backing: Backing, start: usize) -> (OwnedFd, Mapping) {
        let fd = memfd_create("hardware", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, SIZE as u64).unwrap();
        let terms = Terms {
            writable: true,
            private: false,
            populate: false,
            lock: false,
            backing,
        };
        let pages = Pages::map(fd.as_fd(), 0, SIZE, terms).unwrap();
        let pages = pages.guarded("/dev/hardware".into());
        let memory = Mapping::new(pages.narrow(start, SIZE - start), start as u64);
        memory.copy_from(0, &vec![7; SIZE - start]).unwrap();
        (fd, memory)
    }

    fn go(hardware: &OwnedFd) {
        ftruncate(hardware, 0).unwrap();
    }

    const KINDS: [Backing; 2] = [Backing::RevocableRam, Backing::RevocableDevice];
    const WAYS: usize = 12;

    /// Loads or stores sevens at `at`, in one of several ways.
    fn access(memory: &Mapping, way: usize, at: usize) -> Result<()> {
        let mut bytes = [0; 100];
        let loaded = match way {
            0 => memory.read::<u32>(at)? == 0x0707_0707,
            1 => memory.read::<[u8; 5]>(at + 1)? == [7; 5],
            2 => memory.load::<u16>(at, Ordering::Acquire)? == 0x0707,
            3 => memory.array::<u8>().get(at)? == 7,
            4 => {
                let part = memory.view(at..at + 100)?;
                let found: Result<Vec<u16>> = part.array().iter().collect();
                found? == [0x0707; 50]
            }
            5 => {
                memory.copy_to(at, &mut bytes)?;
                bytes == [7; 100]
            }
            6 => {
                memory.copy_to(at, &mut bytes[..9])?;
                bytes[..9] == [7; 9]
            }
            7 => memory.copy_from(at, &[7; 100]).map(|()| true)?,
            8 => memory.write(at, &0x0707_u16).map(|()| true)?,
            9 => memory
                .store(at, 0x0707_0707_u32, Ordering::Release)
                .map(|()| true)?,
            10 => memory.array().set(at / 3, &[7_u8; 3]).map(|()| true)?,
            _ => {
                // A file that takes them, unlike /dev/null.
                let file = memfd_create("copy", MemfdFlags::CLOEXEC).unwrap();
                memory.view(at..at + 1)?.write_to(file).map(|()| true)?
            }
        };
        assert!(loaded, "way {way} at {at}");
        Ok(())
    }

    fn is_refused(memory: &Mapping) {
        for way in 0..WAYS {
            let error = access(memory, way, 0).unwrap_err();
            assert!(matches!(&error, Error::Revoked { file } if file == "/dev/hardware"));
            assert_eq!(error.errno(), Some(rustix::io::Errno::NODEV));
        }
        assert!(matches!(memory.check(), Err(Error::Revoked { .. })));
        assert!(matches!(memory.atomic::<u8>(0), Err(Error::Revoked { .. })));
    }

    #[test]
    fn each_access_finds_out_that_the_hardware_is_gone() {
        if !is_alone("each_access_finds_out_that_the_hardware_is_gone") {
            return;
        }
        for backing in KINDS {
            for way in 0..WAYS {
                // Not from the first byte on, and not up to the last page's end.
                let (fd, memory) = hardware(backing, 8);
                let (_other_fd, other) = hardware(backing, 0);
                (0..WAYS).for_each(|way| access(&memory, way, 4096).unwrap());
                go(&fd);
                memory.check().unwrap();
                // The processor stores before it knows.
                let error = access(&memory, way, SIZE / 2).unwrap_err();
                assert!(matches!(error, Error::Revoked { .. }), "{error:?}");
                is_refused(&memory);
                // Nobody else's memory is gone.
                (0..WAYS).for_each(|way| access(&other, way, 4096).unwrap());
                other.check().unwrap();
            }
        }
    }

    /// In every thread, what an access gives is what was there, or an error.
    #[test]
    fn no_thread_takes_what_is_there_instead_for_the_hardware_s() {
        if !is_alone("no_thread_takes_what_is_there_instead_for_the_hardware_s") {
            return;
        }
        for round in 0..30 {
            let (fd, memory) = hardware(KINDS[round % 2], 0);
            let count = AtomicUsize::new(0);
            thread::scope(|scope| {
                let threads: Vec<_> = (0..WAYS)
                    .map(|way| {
                        let (memory, count) = (&memory, &count);
                        scope.spawn(move || {
                            (0..1_000_000).find_map(|at| {
                                count.fetch_add(1, Ordering::Relaxed);
                                access(memory, way, at * 4096 % SIZE).err()
                            })
                        })
                    })
                    .collect();
                while count.load(Ordering::Relaxed) < 20 * WAYS {
                    thread::yield_now();
                }
                go(&fd);
                for thread in threads {
                    let error = thread.join().unwrap();
                    assert!(matches!(error, Some(Error::Revoked { .. })), "{error:?}");
                }
            });
            is_refused(&memory);
        }
    }

    #[test]
    fn what_gives_values_gives_zeroes_and_can_be_checked() {
        if !is_alone("what_gives_values_gives_zeroes_and_can_be_checked") {
            return;
        }
        let (fd, memory) = hardware(Backing::RevocableDevice, 0);
        let word = memory.atomic::<u64>(16).unwrap();
        let (other, byte) = (memory.atomic::<u32>(page_size()), memory.atomic::<u8>(5));
        assert_eq!(word.load(Ordering::Acquire), 0x0707_0707_0707_0707);
        go(&fd);
        assert_eq!(word.load(Ordering::Acquire), 0);
        assert!(memory.check().is_err());
        assert_eq!(other.unwrap().fetch_add(1, Ordering::AcqRel), 0);
        assert_eq!(byte.unwrap().swap(1, Ordering::AcqRel), 0);
        assert_eq!(
            word.compare_exchange(0, 3, Ordering::AcqRel, Ordering::Acquire),
            Ok(0)
        );
    }

    #[test]
    fn a_new_mapping_in_the_same_place_knows_nothing_of_the_old_one() {
        if !is_alone("a_new_mapping_in_the_same_place_knows_nothing_of_the_old_one") {
            return;
        }
        let (fd, memory) = hardware(Backing::RevocableDevice, 0);
        go(&fd);
        is_refused(&memory);
        let old = memory.as_ptr();
        drop(memory);
        // The kernel gives addresses again.
        let again = (0..100).map(|_| hardware(Backing::RevocableDevice, 0));
        let (_fd, again) = { again }.find(|(_, it)| it.as_ptr() == old).unwrap();
        access(&again, 0, 0).unwrap();
        again.check().unwrap();
    }
}
