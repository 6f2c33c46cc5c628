// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random callers: whatever they ask for, each gets an answer of the table, and the device is none
//! the worse.
//!
//! `CHRMEM_SEED` chooses other numbers. Each process's own calls follow from it; how the processes
//! meet does not.

use crate::driver::{self, fdinfo, get, mappings, shown};
use crate::sys::{self, Buffer, Child, End, Map, Span, PAGE};
use chrmem::Device;
use chrmem_uapi::abi;
use fastrand::Rng;
use libc::{MAP_PRIVATE, MAP_SHARED, MREMAP_MAYMOVE, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

crate::tests! {
    two_wild_processes_on_one_page
    two_wild_processes_on_many_pages
    opening_and_closing_from_two_processes
}

/// The numbers to start from.
fn seed() -> u64 {
    std::env::var("CHRMEM_SEED").map_or(1, |text| text.parse().expect("a number"))
}

fn two_wild_processes_on_one_page() {
    run(PAGE, 6000);
}

fn two_wild_processes_on_many_pages() {
    run(600 * PAGE, 6000);
}

/// Lets two processes loose on a device of `size` bytes, for so many calls each.
fn run(size: usize, calls: usize) {
    let seed = seed();
    driver::with(&format!("size={size}"), || {
        let mut children = [1, 2].map(|number| {
            Child::start(move || {
                let mut caller = Caller::new(Rng::with_seed(seed.wrapping_mul(2) + number), size);
                (0..calls).for_each(|_| caller.call());
                // Not so wild that nothing ever came of it.
                let successes = (caller.mapped, caller.moved_bytes);
                assert!(
                    successes.0 > calls / 40 && successes.1 > calls / 60,
                    "{successes:?}"
                );
            })
        });
        for child in &mut children {
            assert_eq!(
                child.wait(Duration::from_secs(90)),
                End::Status(0),
                "CHRMEM_SEED={seed}"
            );
        }
        assert_eq!(mappings(), 0);
        let device = Device::open(driver::NODE).expect(driver::NODE);
        let map = Map::shared(&device, size).expect("a mapping");
        device.reset().expect("RESET");
        let mut expected = vec![0; size];
        expected[..12].copy_from_slice(b"hello, user!");
        assert_eq!(get(&device, 0, size), expected);
        assert_eq!(map.read(0..size), expected);
        assert_eq!(shown().size, size as u64);
        let info = device.info().expect("INFO");
        assert_eq!(
            (info.size, info.windows, info.generation),
            (size as u64, 1, shown().generation)
        );
    });
}

/// A process that does not know what it does.
struct Caller {
    random: Rng,
    size: usize,
    files: [OwnedFd; 3],
    maps: Vec<Map>,
    buffer: Buffer,
    /// How often it was given a mapping.
    mapped: usize,
    /// How often a read or write did something.
    moved_bytes: usize,
}

impl Caller {
    fn new(random: Rng, size: usize) -> Self {
        let files = [
            driver::open(),
            driver::open_read_only(),
            driver::open_write_only(),
        ];
        let buffer = Buffer::new(4 * PAGE);
        Self {
            random,
            size,
            files,
            maps: Vec::new(),
            buffer,
            mapped: 0,
            moved_bytes: 0,
        }
    }

    /// Makes some call, and looks at its answer.
    fn call(&mut self) {
        match self.random.u8(0..16) {
            0..3 => self.map(),
            3 => self.unmap(),
            4 => self.remap(),
            5 => self.protect(),
            6 => self.advise(),
            7 => self.replace(),
            8 => self.sync(),
            9 | 10 => self.read_or_write(),
            11 => self.seek(),
            12 | 13 => self.ioctl(),
            14 => self.look(),
            _ => self.fork(),
        }
    }

    /// One of the open files, most often the one for both reading and writing.
    fn file(&mut self) -> OwnedFd {
        let file = &self.files[self.random.usize(0..6).saturating_sub(3)];
        file.try_clone().expect("dup")
    }

    /// A number of the kind that goes wrong: near the device's size, a power of two or the largest.
    fn number(&mut self) -> u64 {
        let base = match self.random.u8(0..6) {
            0 => 0,
            1 => self.size as u64,
            2 => (self.random.usize(0..=self.size / PAGE) * PAGE) as u64,
            3 => self.random.u64(0..=self.size as u64),
            4 => 1 << self.random.u8(0..64),
            _ => self.random.u64(..),
        };
        match self.random.u8(0..6) {
            0 => base.wrapping_add(1),
            1 => base.wrapping_sub(1),
            2 => base.wrapping_add(PAGE as u64),
            3 => base.wrapping_neg(),
            _ => base,
        }
    }

    /// A length: of what there is as often as of what there is not.
    fn len(&mut self) -> usize {
        if self.random.bool() {
            self.random.usize(0..=2 * PAGE)
        } else {
            self.number() as usize
        }
    }

    /// An offset and a length: inside the device as often as not.
    fn range(&mut self) -> (u64, usize) {
        if self.random.bool() {
            let pages = self.size / PAGE;
            let first = self.random.usize(0..pages);
            (
                (first * PAGE) as u64,
                PAGE * self.random.usize(1..=pages - first),
            )
        } else {
            (self.number(), self.len())
        }
    }

    fn protection(&mut self) -> i32 {
        const ALL: [i32; 8] = [
            PROT_READ | PROT_WRITE,
            PROT_READ | PROT_WRITE,
            PROT_NONE,
            PROT_READ,
            PROT_READ | PROT_WRITE,
            PROT_WRITE,
            PROT_READ | PROT_EXEC,
            PROT_READ | PROT_WRITE | PROT_EXEC,
        ];
        ALL[self.random.usize(0..ALL.len())]
    }

    /// Some pages of some mapping, cut out of the rest; `None` if nothing is mapped.
    fn part(&mut self) -> Option<Map> {
        if self.maps.is_empty() {
            return None;
        }
        let mut part = self.maps.swap_remove(self.random.usize(0..self.maps.len()));
        for keep_first in [false, true] {
            let pages = part.len() / PAGE;
            if pages > 1 && self.random.bool() {
                let (first, last) = part.split(PAGE * self.random.usize(1..pages));
                let (kept, other) = if keep_first {
                    (first, last)
                } else {
                    (last, first)
                };
                self.maps.push(other);
                part = kept;
            }
        }
        Some(part)
    }

    /// Memory for the kernel to read or write: of this process, of the device, or none.
    fn span(&mut self) -> Span<'_> {
        let len = self.len();
        match self.random.u8(0..4) {
            0 => Span::nowhere(len)[self.random.usize(0..5)],
            1 if !self.maps.is_empty() => {
                let map = &self.maps[self.random.usize(0..self.maps.len())];
                let at = self.random.usize(0..map.len());
                map.span(at, len.min(map.len() - at))
            }
            2 => {
                let left = self.random.usize(0..64);
                self.buffer.span(self.buffer.len() - left, len)
            }
            _ => self
                .buffer
                .span(self.random.usize(0..=self.buffer.len()), len),
        }
    }

    fn map(&mut self) {
        let (file, protection) = (self.file(), self.protection());
        let (offset, len) = self.range();
        let mut flags = if self.random.u8(0..4) == 0 {
            MAP_PRIVATE
        } else {
            MAP_SHARED
        };
        if self.random.u8(0..4) == 0 {
            // Any, but for those that choose an address.
            flags |= self.random.i32(..) & !(libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE);
            flags &= !(libc::MAP_ANONYMOUS | libc::MAP_32BIT);
        }
        match Map::new(Some(file.as_fd()), offset, len, protection, flags) {
            Ok(map) => {
                assert!(
                    offset.is_multiple_of(PAGE as u64)
                        && offset + map.len() as u64 <= self.size as u64
                );
                assert_eq!(protection & PROT_EXEC, 0);
                self.mapped += 1;
                self.maps.push(map);
            }
            Err(
                Errno::INVAL
                | Errno::NXIO
                | Errno::ACCESS
                | Errno::OVERFLOW
                | Errno::NOMEM
                | Errno::OPNOTSUPP
                | Errno::PERM
                | Errno::AGAIN,
            ) => {}
            Err(error) => panic!("mmap of {len:#x} at {offset:#x}, {flags:#x}: {error:?}"),
        }
        if self.maps.len() > 50 {
            self.maps.truncate(25);
        }
    }

    fn unmap(&mut self) {
        drop(self.part());
    }

    fn remap(&mut self) {
        let Some(mut part) = self.part() else { return };
        let answer = match self.random.u8(0..5) {
            0 => part.duplicate().map(drop),
            1 => part.move_out().map(drop),
            2 => part.move_onto(Map::anonymous(part.len())),
            _ => {
                let flags = if self.random.bool() {
                    MREMAP_MAYMOVE
                } else {
                    0
                };
                part.resize(self.number() as usize, flags)
            }
        };
        assert!(
            matches!(
                answer,
                Ok(()) | Err(Errno::INVAL | Errno::FAULT | Errno::NOMEM | Errno::AGAIN)
            ),
            "mremap: {answer:?}"
        );
        self.maps.push(part);
    }

    fn protect(&mut self) {
        let Some(part) = self.part() else { return };
        let protection = self.protection();
        let answer = part.protect(protection);
        assert!(
            matches!(answer, Ok(()) | Err(Errno::ACCESS)),
            "mprotect: {answer:?}"
        );
        assert!(protection & PROT_EXEC == 0 || answer == Err(Errno::ACCESS));
        self.maps.push(part);
    }

    fn advise(&mut self) {
        let Some(part) = self.part() else { return };
        let advice = match self.random.i32(-2..30) {
            // A child could not know of it.
            libc::MADV_DONTFORK => libc::MADV_DONTNEED,
            advice => advice,
        };
        let answer = part.advise(advice);
        assert!(
            matches!(
                answer,
                Ok(())
                    | Err(Errno::INVAL
                        | Errno::NODEV
                        | Errno::ACCESS
                        | Errno::FAULT
                        | Errno::NOMEM)
            ),
            "madvise {advice}: {answer:?}"
        );
        self.maps.push(part);
    }

    fn replace(&mut self) {
        let Some(part) = self.part() else { return };
        if self.random.bool() {
            let page = self.range().0 as usize / PAGE;
            match part.show_page(page) {
                Ok(map) => self.maps.push(map),
                Err(Errno::INVAL | Errno::NXIO | Errno::OVERFLOW) => {}
                Err(error) => panic!("remap_file_pages to {page:#x}: {error:?}"),
            }
            return;
        }
        let (file, offset, protection) = (self.file(), self.range().0, self.protection());
        match part.replace(file.as_fd(), offset, protection, MAP_SHARED) {
            Ok(map) => self.maps.push(map),
            Err(Errno::INVAL | Errno::NXIO | Errno::ACCESS | Errno::OVERFLOW | Errno::PERM) => {}
            Err(error) => panic!("mmap over another one at {offset:#x}: {error:?}"),
        }
    }

    fn sync(&mut self) {
        let Some(part) = self.part() else { return };
        let flags = self.random.i32(0..16);
        let answers = [part.sync(flags), part.lock(flags as u32 & 3), part.unlock()];
        for answer in answers {
            assert!(
                matches!(
                    answer,
                    Ok(())
                        | Err(Errno::INVAL
                            | Errno::NOMEM
                            | Errno::BUSY
                            | Errno::FAULT
                            | Errno::AGAIN)
                ),
                "{answer:?}"
            );
        }
        self.maps.push(part);
    }

    fn read_or_write(&mut self) {
        let (file, offset) = (self.file(), self.range().0 as i64);
        let (write, at_offset) = (self.random.bool(), self.random.bool());
        let size = self.size;
        let span = self.span();
        let answer = match (write, at_offset) {
            (false, false) => sys::read(&file, span),
            (false, true) => sys::pread(&file, span, offset),
            (true, false) => sys::write(&file, span),
            (true, true) => sys::pwrite(&file, span, offset),
        };
        match answer {
            Ok(count) => {
                assert!(count <= size);
                self.moved_bytes += usize::from(count != 0);
            }
            Err(Errno::BADF | Errno::FAULT | Errno::INVAL) => {}
            Err(Errno::NOSPC) => assert!(write),
            Err(error) => panic!("{span:?} at {offset:#x}: {error:?}"),
        }
    }

    fn seek(&mut self) {
        let (file, offset) = (self.file(), self.number() as i64);
        let whence = if self.random.u8(0..8) == 0 {
            self.random.u32(..)
        } else {
            self.random.u32(0..6)
        };
        match sys::seek(&file, offset, whence) {
            Ok(position) => assert!(position <= self.size),
            Err(Errno::INVAL) => {}
            Err(Errno::NXIO) => assert!(whence == 3 || whence == 4),
            Err(error) => panic!("lseek by {offset:#x}, way {whence}: {error:?}"),
        }
    }

    fn ioctl(&mut self) {
        const KNOWN: [u32; 10] = [
            abi::MEM_CLEAR,
            abi::MEM_RESET,
            abi::INFO,
            abi::WINDOW,
            abi::CLEAR,
            abi::RESET,
            abi::NOTIFY,
            abi::SEEN,
            abi::SYNC,
            abi::EXPORT,
        ];
        const CHANGES: [u32; 5] = [
            abi::MEM_CLEAR,
            abi::MEM_RESET,
            abi::CLEAR,
            abi::RESET,
            abi::NOTIFY,
        ];
        let file = self.file();
        let mut command = KNOWN[self.random.usize(0..KNOWN.len())];
        if self.random.bool() {
            command ^= 1 << self.random.u8(0..32);
        }
        // Sometimes what is asked for makes sense.
        let zeroes = self.random.usize(0..3) * 64;
        self.buffer.write(0, &vec![0; zeroes]);
        let range = [self.number().to_ne_bytes(), self.number().to_ne_bytes()].concat();
        self.buffer.write(0, &range[..self.random.usize(0..=16)]);
        let span = if self.random.bool() {
            self.buffer.span(0, PAGE)
        } else {
            self.span()
        };
        let answer = match command {
            abi::EXPORT => sys::ioctl_fd(&file, command, span).map(drop),
            _ => sys::ioctl(&file, command, span).map(|done| assert_eq!(done, 0, "{command:#x}")),
        };
        // Every file has a command 2, for the block size of its file system.
        let known = KNOWN.contains(&command) || command == 2;
        let expected = match answer {
            Ok(()) | Err(Errno::INVAL | Errno::FAULT) => known,
            Err(Errno::BADF) => CHANGES.contains(&command),
            Err(Errno::NXIO | Errno::ACCESS) => command == abi::EXPORT,
            Err(error) => error == Errno::NOTTY && !known,
        };
        assert!(expected, "{command:#x}: {answer:?}");
    }

    fn look(&mut self) {
        let file = self.file();
        let shown = fdinfo(&file);
        assert_eq!(shown.size, self.size as u64);
        assert!(shown.seen <= Some(shown.generation));
        // The other process has some as well; none of them is less than nothing.
        assert!(
            0 <= shown.mappings.0 && shown.mappings.0 <= shown.mappings.1,
            "{shown:?}"
        );
    }

    /// A child that unmaps some, changes some, and ends in one way or another.
    fn fork(&mut self) {
        if self.random.u8(0..8) != 0 {
            return;
        }
        let stay = self.random.bool();
        let seed = self.random.u64(..);
        let mut child = Child::start(|| {
            let mut random = Rng::with_seed(seed);
            self.maps.retain(|_| random.bool());
            self.random = random;
            (0..10).for_each(|_| {
                self.unmap();
                self.protect();
                self.map();
            });
            if stay {
                std::thread::sleep(Duration::from_secs(60));
            }
        });
        if stay {
            child.signal(libc::SIGKILL);
        }
        let end = child.wait(Duration::from_secs(60));
        assert!(
            matches!(end, End::Status(0) | End::Signal(libc::SIGKILL)),
            "{end:?}"
        );
    }
}

fn opening_and_closing_from_two_processes() {
    let mut children = [1, 2].map(|_| {
        Child::start(|| {
            for round in 0..300 {
                let fd = driver::open();
                let map = Map::shared(&fd, PAGE).expect("a mapping");
                map.write(round, b"x");
                let same = fd.try_clone().expect("dup");
                drop(fd);
                drop(map);
                assert_eq!(get(&same, round as u64, 1), b"x");
            }
        })
    });
    for child in &mut children {
        assert_eq!(child.wait(Duration::from_secs(60)), End::Status(0));
    }
    assert_eq!(mappings(), 0);
    assert_eq!(driver::users(), Some(0));
}
