// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that does not know what it does: whatever it asks for, it gets an answer of the table.

use crate::driver::{fdinfo, open_node};
use crate::folder::{make_folder, Folder};
use crate::plan::Window;
use crate::sys::{self, Buffer, Child, End, Map, Span, PAGE};
use chrmem_uapi::abi;
use fastrand::Rng;
use libc::{MAP_PRIVATE, MAP_SHARED, MREMAP_MAYMOVE, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{pipe, splice, SpliceFlags};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The most mappings, files and buffers that it keeps.
const MAPS: usize = 50;
const FILES: usize = 6;
const BUFFERS: usize = 6;

/// A process that does not know what it does.
pub(super) struct Caller<'a> {
    random: Rng,
    folder: &'a Folder,
    windows: &'a [Window],
    /// The end of the device.
    size: u64,
    files: Vec<OwnedFd>,
    buffers: Vec<OwnedFd>,
    maps: Vec<Map>,
    buffer: Buffer,
    /// Whether to print what it does.
    talk: bool,
}

impl<'a> Caller<'a> {
    /// One that has the device open for both reading and writing, for reading, and for writing.
    pub(super) fn new(folder: &'a Folder, windows: &'a [Window], talk: bool) -> Self {
        let modes = [OFlags::RDWR, OFlags::RDONLY, OFlags::WRONLY];
        // Somebody else may have destroyed it already.
        let files = modes.map(|mode| open_node(folder.node(), mode).ok());
        Self {
            random: Rng::with_seed(0),
            folder,
            windows,
            size: windows.last().map_or(0, Window::end),
            files: files.into_iter().flatten().collect(),
            buffers: Vec::new(),
            maps: Vec::new(),
            buffer: Buffer::new(4 * PAGE),
            talk,
        }
    }

    /// Makes some call, and looks at its answer.
    pub(super) fn step(&mut self, step: u64) {
        self.random = Rng::with_seed(step);
        if self.files.is_empty() {
            return self.open();
        }
        match self.random.u8(0..32) {
            0..6 => self.map(),
            6 => self.unmap(),
            7 | 8 => self.remap(),
            9 => self.protect(),
            10 | 11 => self.advise(),
            12 => self.replace(),
            13 => self.sync(),
            14..17 => self.read_or_write(),
            17 => self.seek(),
            18..21 => self.ioctl(),
            21 => self.look(),
            22 | 23 => self.fork(),
            24 => self.open(),
            25 | 26 => self.use_buffer(),
            27 => self.export(),
            28 => self.fcntl(),
            29 => self.splice(),
            30 => self.configure(),
            _ => self.destroy(),
        }
    }

    /// Compares what is mapped with what is read, page by page, while nobody changes anything.
    pub(super) fn compare(&self) {
        let Ok(fd) = open_node(self.folder.node(), OFlags::RDONLY) else {
            return;
        };
        let listed = fs::read_to_string("/proc/self/maps").expect("/proc");
        for line in listed
            .lines()
            .filter(|line| line.ends_with(&self.folder.node()))
        {
            // `start-end perms offset dev inode path`
            let mut words = line.split_whitespace();
            let (range, permissions) = (words.next().expect("a range"), words.next());
            let offset = hex(words.next().expect("an offset"));
            let (start, end) = range.split_once('-').expect("a range");
            let (start, end) = (hex(start), hex(end));
            if !permissions.is_some_and(|it| it.starts_with('r') && it.ends_with('s')) {
                continue;
            }
            for map in &self.maps {
                let own = map.address() as u64..(map.address() + map.len()) as u64;
                let (from, to) = (own.start.max(start), own.end.min(end));
                for page in (from..to.max(from)).step_by(PAGE) {
                    let at = (page - own.start) as usize;
                    let position = (offset + (page - start)) as i64;
                    // The file may be of a device that was destroyed, and another one have its name.
                    let span = self.buffer.span(0, PAGE);
                    if sys::pread(&fd, span, position) == Ok(PAGE) && self.is_same_device() {
                        let (read, mapped) = (self.buffer.read(0..PAGE), map.read(at..at + PAGE));
                        assert!(
                            read == mapped,
                            "page {position:#x} is not what is mapped: {line}"
                        );
                    }
                }
            }
        }
    }

    /// Whether the device was never destroyed since the first of the files was opened.
    fn is_same_device(&self) -> bool {
        let first = self.files.first();
        first.is_some_and(|fd| sys::seek(fd, 0, libc::SEEK_CUR as u32) != Err(Errno::NODEV))
    }

    /// Prints a call and its answer.
    fn say(&self, what: impl std::fmt::Debug) {
        if self.talk {
            eprintln!("{}: {what:?}", std::process::id());
        }
    }

    /// One of the open files.
    fn file(&mut self) -> OwnedFd {
        let index = self.random.usize(0..self.files.len());
        self.files[index].try_clone().expect("dup")
    }

    /// A number of the kind that goes wrong: near the device's size, a power of two or the largest.
    fn number(&mut self) -> u64 {
        let base = match self.random.u8(0..6) {
            0 => 0,
            1 => self.size,
            2 | 3 => self.window().offset + self.random.u64(0..=16) * 1024,
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

    /// One of the windows.
    fn window(&mut self) -> &'a Window {
        &self.windows[self.random.usize(0..self.windows.len())]
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
        if self.random.u8(0..4) != 0 {
            let window = self.window();
            let (offset, pages) = (window.offset, window.size / PAGE);
            let first = self.random.usize(0..pages);
            (
                offset + (first * PAGE) as u64,
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
            flags &= !(libc::MAP_ANONYMOUS | sys::MAP_32BIT);
        }
        let map = Map::new(Some(file.as_fd()), offset, len, protection, flags);
        self.say((
            "mmap",
            &file,
            offset,
            len,
            protection,
            flags,
            map.as_ref().err(),
        ));
        match map {
            Ok(map) => {
                assert!(offset % PAGE as u64 == 0 && offset + map.len() as u64 <= self.size);
                assert_eq!(protection & PROT_EXEC, 0);
                self.keep(map);
            }
            Err(error) => assert!(
                is_of_mmap(error),
                "mmap of {len:#x} at {offset:#x}, {flags:#x}: {error:?}"
            ),
        }
    }

    /// Keeps a mapping, and not too many.
    fn keep(&mut self, map: Map) {
        self.maps.push(map);
        if self.maps.len() > MAPS {
            self.maps.truncate(MAPS / 2);
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
        self.say(("mremap", &part, answer));
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
        self.say(("mprotect", &part, protection, answer));
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
        self.say(("madvise", &part, advice, answer));
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
                Err(error) => assert!(is_of_mmap(error), "remap_file_pages: {error:?}"),
            }
            return;
        }
        let (file, offset, protection) = (self.file(), self.range().0, self.protection());
        match part.replace(file.as_fd(), offset, protection, MAP_SHARED) {
            Ok(map) => self.maps.push(map),
            Err(error) => assert!(is_of_mmap(error), "mmap over another one: {error:?}"),
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
        let told = format!("{span:?}");
        self.say((write, at_offset, &file, told, offset, answer));
        match answer {
            Ok(count) => assert!(count as u64 <= size),
            Err(Errno::NOSPC | Errno::ACCESS) => assert!(write),
            Err(Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::NXIO | Errno::NODEV) => {}
            Err(error) => panic!("read or write at {offset:#x}: {error:?}"),
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
            Ok(position) => assert!(position as u64 <= self.size),
            Err(Errno::INVAL | Errno::NODEV) => {}
            Err(Errno::NXIO) => assert!(whence == 3 || whence == 4),
            Err(error) => panic!("lseek by {offset:#x}, way {whence}: {error:?}"),
        }
    }

    fn ioctl(&mut self) {
        const KNOWN: [u32; 11] = [
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
            abi::CHANGES,
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
        if command == abi::CHANGES {
            // Where it may put something, and room for some of it.
            let array = (self.buffer.address() + PAGE / 2).to_ne_bytes();
            self.buffer.write(16, &range[..self.random.usize(0..=16)]);
            self.buffer.write(32, &array);
            self.buffer.write(40, &self.random.u32(0..8).to_ne_bytes());
        }
        let span = if self.random.bool() || command == abi::CHANGES {
            self.buffer.span(0, PAGE)
        } else {
            self.span()
        };
        let mut kept = None;
        let answer = match command {
            abi::EXPORT => sys::ioctl_fd(&file, command, span).map(|buffer| kept = Some(buffer)),
            _ => sys::ioctl(&file, command, span).map(|done| assert_eq!(done, 0, "{command:#x}")),
        };
        // Every file has a command 2, for the block size of its file system.
        let known = KNOWN.contains(&command) || command == 2;
        let expected = match answer {
            Ok(()) | Err(Errno::INVAL | Errno::FAULT) => known,
            Err(Errno::BADF) => {
                CHANGES.contains(&command) || [abi::SYNC, abi::CHANGES].contains(&command)
            }
            Err(Errno::NXIO) => [abi::EXPORT, abi::CLEAR, abi::SYNC].contains(&command),
            Err(Errno::ACCESS) => [abi::EXPORT, abi::CLEAR, abi::SYNC].contains(&command),
            Err(Errno::OPNOTSUPP) => [abi::EXPORT, abi::CHANGES].contains(&command),
            // Of a destroyed device, whatever is asked.
            Err(Errno::NODEV) => true,
            Err(error) => error == Errno::NOTTY && !known,
        };
        self.say(("ioctl", &file, command, answer));
        assert!(expected, "{command:#x}: {answer:?}");
        self.buffers.extend(kept);
        self.buffers.truncate(BUFFERS);
    }

    fn look(&mut self) {
        let file = self.file();
        let shown = fdinfo(&file);
        assert_eq!(shown.size, self.size);
        assert!(shown.seen <= Some(shown.generation));
        // The other process has some as well; none of them is less than nothing.
        assert!(
            0 <= shown.mappings.0 && shown.mappings.0 <= shown.mappings.1,
            "{shown:?}"
        );
    }

    /// A child that unmaps some, changes some, and ends in one way or another.
    fn fork(&mut self) {
        let stay = self.random.bool();
        let seed = self.random.u64(..);
        let mut child = Child::start(|| {
            let mut random = Rng::with_seed(seed);
            self.maps.retain(|_| random.bool());
            (0..6).for_each(|_| {
                self.random = Rng::with_seed(random.u64(..));
                match self.random.u8(0..6) {
                    0 => self.unmap(),
                    1 => self.protect(),
                    2 => self.map(),
                    3 => self.advise(),
                    4 => self.read_or_write(),
                    _ => self.ioctl(),
                }
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

    /// `open`, with any flags that make no file, and `close`.
    fn open(&mut self) {
        let mode =
            [OFlags::RDWR, OFlags::RDWR, OFlags::RDONLY, OFlags::WRONLY][self.random.usize(0..4)];
        let mut flags = mode;
        if self.random.bool() {
            flags |= OFlags::from_bits_retain(self.random.u32(..));
            flags -= OFlags::CREATE | OFlags::TMPFILE | OFlags::EXCL | OFlags::PATH;
        }
        let answer = open_node(self.folder.node(), flags);
        self.say(("open", flags, answer.as_ref().err()));
        match answer {
            Ok(file) => self.files.push(file),
            // Destroyed; O_DIRECT; O_DIRECTORY; a lease or the like.
            Err(Errno::NOENT | Errno::NXIO | Errno::INVAL | Errno::NOTDIR | Errno::NODEV) => {}
            Err(error) => panic!("open with {flags:?}: {error:?}"),
        }
        if self.files.len() > FILES {
            let index = self.random.usize(0..self.files.len());
            self.files.swap_remove(index);
        }
    }

    /// EXPORT of what there is.
    fn export(&mut self) {
        let (file, (offset, len)) = (self.file(), self.range());
        self.buffer.write(0, &offset.to_ne_bytes());
        self.buffer.write(8, &(len as u64).to_ne_bytes());
        self.buffer.write(16, &[0; 8]);
        let answer = sys::ioctl_fd(&file, abi::EXPORT, self.buffer.span(0, 24));
        self.say(("EXPORT", &file, offset, len, answer.as_ref().err()));
        match answer {
            Ok(buffer) => self.buffers.push(buffer),
            Err(Errno::ACCESS | Errno::INVAL | Errno::NXIO | Errno::OPNOTSUPP | Errno::NODEV) => {}
            Err(error) => panic!("EXPORT of {len:#x} at {offset:#x}: {error:?}"),
        }
        if self.buffers.len() > BUFFERS {
            self.buffers.swap_remove(0);
        }
    }

    /// What can be done to a buffer: mapped, synchronized, seeked, asked for nonsense, closed.
    fn use_buffer(&mut self) {
        const SYNC: u32 = 0x4008_6200;
        if self.buffers.is_empty() {
            return;
        }
        let index = self.random.usize(0..self.buffers.len());
        let buffer = self.buffers[index].try_clone().expect("dup");
        match self.random.u8(0..6) {
            0 => drop(self.buffers.swap_remove(index)),
            1 => {
                self.buffer.write(0, &self.random.u64(0..16).to_ne_bytes());
                let answer = sys::ioctl(&buffer, SYNC, self.buffer.span(0, 8));
                assert!(matches!(answer, Ok(0) | Err(Errno::INVAL)), "{answer:?}");
            }
            2 => {
                let command = SYNC ^ (1 << self.random.u8(0..32));
                let answer = sys::ioctl(&buffer, command, self.buffer.span(0, PAGE));
                self.say(("ioctl of a buffer", command, answer));
                assert!(
                    matches!(
                        answer,
                        Ok(0) | Err(Errno::NOTTY | Errno::INVAL | Errno::FAULT)
                    ),
                    "{command:#x}: {answer:?}"
                );
            }
            3 => {
                let offset = self.number() as i64;
                let _ = sys::seek(&buffer, offset, self.random.u32(0..6));
            }
            _ => {
                let (protection, len) = (self.protection(), self.len());
                let offset = if self.random.bool() { 0 } else { self.number() };
                let flags = [MAP_SHARED, MAP_SHARED, MAP_PRIVATE][self.random.usize(0..3)];
                let map = Map::new(Some(buffer.as_fd()), offset, len, protection, flags);
                self.say((
                    "mmap of a buffer",
                    offset,
                    len,
                    protection,
                    flags,
                    map.as_ref().err(),
                ));
                match map {
                    Ok(map) => self.keep(map),
                    Err(error) => assert!(is_of_mmap(error), "mmap of a buffer: {error:?}"),
                }
            }
        }
    }

    /// `fcntl`, `poll`, `dup`.
    fn fcntl(&mut self) {
        let file = self.file();
        let flags = OFlags::from_bits_retain(self.random.u32(..));
        // Whatever it answers: these are the kernel's own.
        let _ = rustix::fs::fcntl_setfl(&file, flags);
        let _ = rustix::io::ioctl_fionbio(&file, self.random.bool());
        let _ = rustix::fs::ftruncate(&file, self.number());
        let _ = rustix::fs::fsync(&file);
        let mut fds = [PollFd::new(
            &file,
            PollFlags::from_bits_retain(self.random.u16(..)),
        )];
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(self.random.u32(0..1000)),
        };
        poll(&mut fds, Some(&time)).expect("poll");
        self.files.push(file);
        self.files.truncate(FILES);
    }

    /// `splice` from one file to another, by a pipe.
    fn splice(&mut self) {
        let (from, to) = (self.file(), self.file());
        let (mut out_of, mut into) = (self.range().0, self.range().0);
        let len = self.random.usize(0..5 * PAGE);
        let (out, pipe_in) = pipe().expect("a pipe");
        let flags = SpliceFlags::NONBLOCK;
        let first = splice(&from, Some(&mut out_of), &pipe_in, None, len, flags);
        let second = splice(&out, None, &to, Some(&mut into), len, flags);
        self.say(("splice", out_of, into, len, first, second));
        for answer in [first, second] {
            assert!(
                matches!(
                    answer,
                    Ok(_)
                        | Err(Errno::BADF
                            | Errno::INVAL
                            | Errno::NXIO
                            | Errno::NODEV
                            | Errno::NOSPC
                            | Errno::ACCESS
                            | Errno::AGAIN)
                ),
                "{answer:?}"
            );
        }
    }

    /// Wild values for the settings of a device of its own, which may then even be built.
    fn configure(&mut self) {
        let name = format!("/sys/kernel/config/chrmem/fuzz-{}", std::process::id());
        let device = Path::new(&name);
        let window = device.join("windows/w");
        for path in [device, &window] {
            make_folder(path).expect("a folder");
        }
        let attributes = [
            "offset", "size", "memory", "cache", "access", "address", "device", "fill",
        ];
        for _ in 0..self.random.usize(1..6) {
            let attribute = attributes[self.random.usize(0..attributes.len())];
            let words = [
                "pages",
                "contiguous",
                "dma",
                "ro",
                "noncached",
                "writecombine",
                "auto",
                "none",
            ];
            let value = match self.random.u8(0..5) {
                0 => words[self.random.usize(0..words.len())].to_owned(),
                1 => format!("{}", self.number()),
                2 => format!("{:#x}", self.number()),
                3 => format!("{}K", self.random.u32(..2000)),
                _ => (0..self.random.usize(0..200))
                    .map(|_| self.random.char(..))
                    .collect(),
            };
            let answer = fs::write(window.join(attribute), &value);
            self.say(("configfs", attribute, &value, answer.as_ref().err()));
        }
        for _ in 0..self.random.usize(0..3) {
            // As much memory as it may be: it must not be more than the machine has.
            let answer = fs::write(
                device.join("live"),
                if self.random.bool() { "1" } else { "0" },
            );
            self.say(("live", answer.as_ref().err()));
        }
        fs::write(device.join("live"), "0").expect("live");
        for path in [&window, device] {
            fs::remove_dir(path).expect("rmdir");
        }
    }

    /// Destroys the device, and builds another one in its place; or lets somebody else do it.
    fn destroy(&mut self) {
        if self.random.u8(0..8) == 0 {
            let answers = [self.folder.set_live("0"), self.folder.set_live("1")];
            self.say(("destroy and build", answers));
            // The old device's users may still have its physical range, or its memory.
            assert!(
                matches!(answers, [Ok(()), Ok(()) | Err(Errno::BUSY | Errno::NOMEM)]),
                "{answers:?}"
            );
        }
    }
}

/// Whether it is an answer that mmap has.
fn is_of_mmap(error: Errno) -> bool {
    matches!(
        error,
        Errno::INVAL
            | Errno::NXIO
            | Errno::NODEV
            | Errno::ACCESS
            | Errno::OVERFLOW
            | Errno::NOMEM
            | Errno::OPNOTSUPP
            | Errno::PERM
            | Errno::AGAIN
    )
}

/// A number as `/proc/PID/maps` has it.
fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("a number")
}
