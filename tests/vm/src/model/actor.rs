// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process of the model test: it takes all steps on the plain model, and its own also on the device.
//!
//! So every process knows at any time what the device must be like, and they tell each other nothing but
//! whose turn it is.

use super::plain::{File, Mapping, Place, Plain};
use crate::boot;
use crate::driver::{fdinfo, open_node};
use crate::plan::{Window, END_MAX};
use crate::sys::{self, Buffer, Map, Result, Span, PAGE};
use chrmem_uapi::abi;
use fastrand::Rng;
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{memfd_create, sendfile, MemfdFlags, OFlags};
use rustix::io::Errno;
use rustix::pipe::{pipe, splice, SpliceFlags};
use rustix::thread::futex;
use std::fmt::Debug;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// How each of the files is opened that all processes share, position and all.
pub(super) const SHARED: [OFlags; 4] = [
    OFlags::RDWR,
    OFlags::RDWR.union(OFlags::APPEND),
    OFlags::RDONLY,
    OFlags::WRONLY,
];

/// How many files each process has opened itself.
const OWN: usize = 2;

/// How many mappings and buffers each process has at most.
const MAPS: usize = 12;
const BUFFERS: usize = 4;

/// Bytes of the memory that is read into and written from.
const SCRATCH: usize = 16 * PAGE;

/// A range of the device as a buffer.
#[derive(Clone, Debug)]
struct Export {
    window: usize,
    page: usize,
    pages: usize,
    writable: bool,
}

/// What the model knows of a process.
#[derive(Default)]
struct Owner {
    maps: Vec<Mapping>,
    buffers: Vec<Export>,
}

/// What a process really has, in the same order.
struct Real<'a> {
    node: String,
    files: Vec<OwnedFd>,
    maps: Vec<Map>,
    buffers: Vec<OwnedFd>,
    scratch: Buffer,
    /// The number of the step whose turn it is.
    turn: &'a AtomicU32,
}

/// A process.
pub(super) struct Actor<'a> {
    device: Plain,
    /// The shared files, then each process's own.
    files: Vec<File>,
    owners: Vec<Owner>,
    /// Who this is, and who takes the steps now.
    me: usize,
    owner: usize,
    step: u32,
    random: Rng,
    /// What the process knows of tracked windows: it renews what it is told has changed since its last look.
    known: Vec<Vec<u8>>,
    since: u64,
    real: Real<'a>,
    /// Whether to print what is done.
    talk: bool,
}

/// What the model knows of a file that was opened so.
fn file_of(flags: OFlags) -> File {
    let mode = flags & OFlags::RWMODE;
    File {
        read: mode != OFlags::WRONLY,
        write: mode != OFlags::RDONLY,
        append: flags.contains(OFlags::APPEND),
        position: 0,
        seen: 0,
    }
}

impl<'a> Actor<'a> {
    /// Process `me` of so many, for a device of these windows behind `node`, which all have opened as
    /// [`SHARED`] says. `turn` starts at 0, less one for each process.
    pub(super) fn new(
        windows: Vec<Window>,
        node: String,
        shared: &[OwnedFd],
        (me, count): (usize, usize),
        turn: &'a AtomicU32,
        talk: bool,
    ) -> Self {
        let dup = |file: &OwnedFd| file.try_clone().expect("dup");
        let mut files: Vec<_> = shared.iter().map(dup).collect();
        let own = || open_node(&node, OFlags::RDWR).expect("the device");
        files.extend((0..OWN).map(|_| own()));
        let mut model = SHARED.map(file_of).to_vec();
        model.extend((0..OWN * count).map(|_| file_of(OFlags::RDWR)));
        let device = Plain::new(windows);
        let this = Self {
            known: device.bytes.clone(),
            since: 0,
            device,
            files: model,
            owners: (0..count).map(|_| Owner::default()).collect(),
            me,
            owner: 0,
            step: 0,
            random: Rng::with_seed(0),
            real: Real {
                node,
                files,
                maps: Vec::new(),
                buffers: Vec::new(),
                scratch: Buffer::new(SCRATCH),
                turn,
            },
            talk,
        };
        // The last one to be ready makes it the turn of the first step.
        turn.fetch_add(1, Ordering::AcqRel);
        this.pass_on();
        this
    }

    /// Takes a step.
    pub(super) fn step(&mut self, step: u64) {
        self.random = Rng::with_seed(step);
        if self.random.u8(0..16) == 0 {
            let owner = self.random.usize(0..self.owners.len());
            if self.mine() && owner != self.me {
                self.pass_on();
            }
            self.owner = owner;
        }
        if self.mine() {
            self.wait();
        }
        match self.random.u8(0..64) {
            0..8 => self.read(),
            8..15 => self.write(),
            15 => self.changes(),
            16..21 => self.map(),
            21..32 => self.load(),
            32..41 => self.store(),
            41 | 42 => self.unmap(),
            43 | 44 => self.protect(),
            45 => self.advise(),
            46 => self.remap(),
            47 => self.sync(),
            48 | 49 => self.read_into_mapping(),
            50 | 51 => self.write_from_mapping(),
            52 => self.splice_out(),
            53 => self.splice_in(),
            54 => self.send(),
            55 => self.export(),
            56 | 57 => self.seek(),
            58 => self.clear(),
            59 => self.announce(),
            60 => self.describe(),
            61 => self.news(),
            62 => self.open(),
            _ => self.look(),
        }
        self.step += 1;
        if self.mine() {
            self.real.turn.store(self.step, Ordering::Release);
        }
    }

    /// Waits until it is this process's turn.
    fn wait(&self) {
        loop {
            let turn = self.real.turn.load(Ordering::Acquire);
            if turn == self.step {
                return;
            }
            // Whoever has the turn wakes the others when it passes it on.
            let _ = futex::wait(self.real.turn, futex::Flags::empty(), turn, None);
        }
    }

    /// Says that it is somebody else's turn.
    fn pass_on(&self) {
        futex::wake(self.real.turn, futex::Flags::empty(), u32::MAX >> 1).expect("a wake-up");
    }

    /// After the last step: everything is as the model says, wherever one looks.
    pub(super) fn end(&mut self) {
        if self.mine() {
            self.pass_on();
        }
        self.wait();
        self.owner = self.me;
        for (index, real) in self.real.maps.iter().enumerate() {
            let map = &self.owners[self.me].maps[index];
            if map.can_load() {
                let expected = map.load(&self.device, 0, real.len());
                self.expect_bytes("the whole mapping", &real.read(0..real.len()), &expected);
            }
        }
        for (window, bytes) in self.device.windows.iter().zip(&self.device.bytes) {
            for (at, expected) in (0..).step_by(SCRATCH).zip(bytes.chunks(SCRATCH)) {
                let span = self.real.scratch.span(0, expected.len());
                let got = sys::pread(&self.real.files[0], span, window.offset as i64 + at);
                self.expect("the whole window", got, Ok(expected.len()));
                let got = self.real.scratch.read(0..expected.len());
                self.expect_bytes("the whole window", &got, expected);
            }
        }
    }

    /// Whether this process takes the step.
    fn mine(&self) -> bool {
        self.owner == self.me
    }

    /// Compares an answer of the device with the model's.
    fn expect<T: PartialEq + Debug>(&self, what: impl Debug, got: T, expected: T) {
        if self.talk {
            eprintln!("{} by process {}: {what:?} = {got:?}", self.step, self.me);
        }
        assert!(
            got == expected,
            "step {} by process {}: {what:?} is {got:?}, not {expected:?}",
            self.step,
            self.me
        );
    }

    /// Compares bytes with the model's.
    fn expect_bytes(&self, what: impl Debug, got: &[u8], expected: &[u8]) {
        if got != expected {
            let at = got.iter().zip(expected).position(|(a, b)| a != b);
            let at = at.unwrap_or(got.len().min(expected.len()));
            panic!(
                "step {} by process {}: {what:?}: byte {at} of {} is {:?}, not {:?} of {}",
                self.step,
                self.me,
                got.len(),
                got.get(at),
                expected.get(at),
                expected.len()
            );
        }
    }

    /// A file of the process: its number in the model, and in the process.
    fn file(&mut self) -> (usize, usize) {
        match self.random.usize(0..SHARED.len() + OWN) {
            own if own >= SHARED.len() => (own + self.owner * OWN, own),
            shared => (shared, shared),
        }
    }

    /// An offset: most often of a byte, or near an edge; now and then any.
    fn offset(&mut self) -> i64 {
        let windows = &self.device.windows;
        let window = &windows[self.random.usize(0..windows.len())];
        let wild = [
            0,
            -1,
            i64::MIN,
            i64::MAX,
            i64::MAX - 100,
            END_MAX as i64,
            1 << 32,
            -4096,
        ];
        match self.random.u8(0..32) {
            0..20 => window.offset as i64 + self.random.usize(0..window.size) as i64,
            20..29 => {
                let edge = [window.offset, window.end()][self.random.usize(0..2)] as i64;
                edge.saturating_add(self.random.i64(-80..16))
            }
            29 => self.random.i64(0..=self.device.size() as i64),
            _ => wild[self.random.usize(0..wild.len())],
        }
    }

    /// A number of bytes, most often a small one.
    fn len(&mut self) -> usize {
        match self.random.u8(0..16) {
            0 => 0,
            1 => self.random.usize(0..SCRATCH),
            2 | 3 => self.random.usize(0..3 * PAGE),
            4 | 5 => PAGE,
            _ => self.random.usize(1..100),
        }
    }

    /// Bytes to write.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.random.fill(&mut bytes);
        bytes
    }

    /// A position to read or write at: `None` for the file's own.
    fn position(&mut self, file: usize) -> (Option<i64>, i64) {
        if self.random.u8(0..3) == 0 {
            return (None, self.files[file].position);
        }
        let offset = self.offset();
        (Some(offset), offset)
    }

    /// Moves a file's position on, if that is what was used.
    fn advance(&mut self, file: usize, at: Option<i64>, count: usize) {
        if at.is_none() {
            self.files[file].position += count as i64;
        }
    }

    /// How many of so many bytes there is room for, before the page that cannot be touched.
    fn room(&mut self, len: usize) -> usize {
        if self.random.u8(0..8) == 0 {
            self.random.usize(0..=len)
        } else {
            len
        }
    }

    /// `read`, `pread`, `preadv2`.
    fn read(&mut self) {
        let (file, fd) = self.file();
        let (at, position) = self.position(file);
        let len = self.len();
        if self.random.u8(0..3) == 0 {
            return self.read_vector(file, fd, (at, position), len);
        }
        let room = self.room(len);
        let expected = match at {
            Some(..0) => Err(Errno::INVAL),
            _ => self.device.read(&self.files[file], position, len, room),
        };
        let count = answer(&expected).unwrap_or(0);
        self.advance(file, at, count);
        if self.mine() {
            let (scratch, fd) = (&self.real.scratch, &self.real.files[fd]);
            let start = SCRATCH - room;
            if count < room {
                scratch.write(start + count, b"|");
            }
            let got = match at {
                Some(at) => sys::pread(fd, scratch.span(start, len), at),
                None => sys::read(fd, scratch.span(start, len)),
            };
            let what = ("read", fd, at, position, len, room);
            self.expect(what, got, answer(&expected));
            if let Ok(Some(place)) = &expected {
                let got = scratch.read(start..start + count);
                self.expect_bytes(what, &got, self.device.bytes(place));
            }
            if count < room {
                self.expect_bytes(what, &scratch.read(start + count..start + count + 1), b"|");
            }
        }
    }

    /// `write`, `pwrite`, `pwritev2`.
    fn write(&mut self) {
        let (file, fd) = self.file();
        let (at, position) = self.position(file);
        let len = self.len();
        if self.random.u8(0..3) == 0 {
            return self.write_vector(file, fd, (at, position), len);
        }
        let room = self.room(len);
        let expected = match at {
            Some(..0) => Err(Errno::INVAL),
            _ => self.device.write(&self.files[file], position, len, room),
        };
        let bytes = self.bytes(room);
        self.wrote(file, at, &expected, &bytes);
        if self.mine() {
            let (scratch, fd) = (&self.real.scratch, &self.real.files[fd]);
            let start = SCRATCH - room;
            scratch.write(start, &bytes);
            let got = match at {
                Some(at) => sys::pwrite(fd, scratch.span(start, len), at),
                None => sys::write(fd, scratch.span(start, len)),
            };
            let what = ("write", fd, at, position, len, room);
            self.expect(what, got, answer(&expected));
        }
    }

    /// Takes down what was written.
    fn wrote(&mut self, file: usize, at: Option<i64>, done: &Result<Option<Place>>, bytes: &[u8]) {
        if let Ok(Some(place)) = done {
            self.device.put(place, bytes);
            self.advance(file, at, place.range.len());
        }
    }

    /// How the parts of a vector lie in the scratch memory: the last one first. Their lengths.
    fn parts(&mut self, len: usize) -> Vec<usize> {
        let mut parts = Vec::new();
        let mut left = len;
        for _ in 0..self.random.usize(0..4) {
            parts.push(self.random.usize(0..=left));
            left -= parts[parts.len() - 1];
        }
        parts.push(left);
        parts
    }

    /// Where the parts of a vector lie.
    fn starts(parts: &[usize]) -> Vec<usize> {
        let mut end = parts.iter().sum::<usize>();
        let start = |len: &usize| {
            end -= len;
            end
        };
        parts.iter().map(start).collect()
    }

    /// Flags that change nothing, or one that there is not; and whether there are such.
    fn flags(&mut self) -> (i32, bool) {
        const NONE: i32 = 1 << 30;
        let flags = [
            0,
            libc::RWF_HIPRI,
            libc::RWF_DSYNC,
            libc::RWF_SYNC,
            libc::RWF_NOWAIT,
            NONE,
        ];
        let flags = flags[self.random.usize(0..flags.len())];
        (flags, flags != NONE)
    }

    /// A position as `preadv2` wants it: -1 is the file's own, so that this cannot be asked for.
    fn vector_position(at: Option<i64>) -> Option<i64> {
        match at {
            Some(-1) => None,
            Some(at) => Some(at),
            None => Some(-1),
        }
    }

    fn read_vector(
        &mut self,
        file: usize,
        fd: usize,
        (at, position): (Option<i64>, i64),
        len: usize,
    ) {
        let parts = self.parts(len);
        let (flags, possible) = self.flags();
        let Some(offset) = Self::vector_position(at) else {
            return;
        };
        let refused = !possible && len != 0 && self.files[file].read && checked(position, len);
        let expected = match at {
            Some(..0) => Err(Errno::INVAL),
            _ if refused => Err(Errno::OPNOTSUPP),
            _ => self.device.read(&self.files[file], position, len, len),
        };
        let count = answer(&expected).unwrap_or(0);
        self.advance(file, at, count);
        if self.mine() {
            let (scratch, fd) = (&self.real.scratch, &self.real.files[fd]);
            let starts = Self::starts(&parts);
            let spans: Vec<Span<'_>> = starts
                .iter()
                .zip(&parts)
                .map(|(start, len)| scratch.span(*start, *len))
                .collect();
            let got = sys::readv(fd, &spans, spans.len(), offset, flags);
            let what = ("preadv2", fd, at, position, &parts, flags);
            self.expect(what, got, answer(&expected));
            if let Ok(Some(place)) = &expected {
                let each = starts.iter().zip(&parts);
                let mut bytes = each
                    .map(|(start, len)| scratch.read(*start..start + len))
                    .collect::<Vec<_>>()
                    .concat();
                bytes.truncate(count);
                self.expect_bytes(what, &bytes, self.device.bytes(place));
            }
        }
    }

    fn write_vector(
        &mut self,
        file: usize,
        fd: usize,
        (at, position): (Option<i64>, i64),
        len: usize,
    ) {
        let parts = self.parts(len);
        let (flags, possible) = self.flags();
        let Some(offset) = Self::vector_position(at) else {
            return;
        };
        let bytes = self.bytes(len);
        let refused = !possible && len != 0 && self.files[file].write && checked(position, len);
        let expected = match at {
            Some(..0) => Err(Errno::INVAL),
            _ if refused => Err(Errno::OPNOTSUPP),
            _ => self.device.write(&self.files[file], position, len, len),
        };
        self.wrote(file, at, &expected, &bytes);
        if self.mine() {
            let (scratch, fd) = (&self.real.scratch, &self.real.files[fd]);
            let mut done = 0;
            let starts = Self::starts(&parts);
            for (start, len) in starts.iter().zip(&parts) {
                scratch.write(*start, &bytes[done..done + len]);
                done += len;
            }
            let spans: Vec<Span<'_>> = starts
                .iter()
                .zip(&parts)
                .map(|(start, len)| scratch.span(*start, *len))
                .collect();
            let got = sys::writev(fd, &spans, spans.len(), offset, flags);
            let what = ("pwritev2", fd, at, position, &parts, flags);
            self.expect(what, got, answer(&expected));
        }
    }

    /// `mmap`, of the device or of a buffer.
    fn map(&mut self) {
        let protections = [
            PROT_READ | PROT_WRITE,
            PROT_READ | PROT_WRITE,
            PROT_READ,
            PROT_WRITE,
            PROT_NONE,
        ];
        let protection = protections[self.random.usize(0..protections.len())];
        let shared = self.random.u8(0..3) != 0;
        let populate = self.random.u8(0..4) == 0;
        let buffers = self.owners[self.owner].buffers.len();
        let buffer = (buffers != 0 && self.random.bool()).then(|| self.random.usize(0..buffers));
        let (fd, file) = match buffer {
            None => {
                let (file, fd) = self.file();
                (fd, self.files[file].clone())
            }
            Some(index) => {
                let mut file = file_of(OFlags::RDWR);
                file.write = self.owners[self.owner].buffers[index].writable;
                (index, file)
            }
        };
        let (page, pages) = self.pages(buffer);
        let write = protection & PROT_WRITE != 0;
        let expected = if shared && write && !file.write || !file.read {
            Err(Errno::ACCESS)
        } else {
            let place = match buffer {
                None => self.device.mapping(page, pages),
                Some(index) => within(&self.owners[self.owner].buffers[index], page, pages),
            };
            place.and_then(|(window, first)| {
                let place = (window, first, pages as usize);
                let window = &self.device.windows[window];
                let mut map = Mapping::new(window, place, file.write, shared, protection)?;
                if buffer.is_some() && shared && file.write {
                    // A buffer's file has no `fsync`.
                    map.sync = Err(Errno::INVAL);
                }
                if populate && write {
                    map.make_copies(&self.device);
                }
                Ok(map)
            })
        };
        if self.mine() {
            let fd = match buffer {
                None => self.real.files[fd].as_fd(),
                Some(index) => self.real.buffers[index].as_fd(),
            };
            let mut flags = if shared { MAP_SHARED } else { MAP_PRIVATE };
            if populate {
                flags |= libc::MAP_POPULATE;
            }
            let len = pages as usize * PAGE;
            let got = Map::new(Some(fd), page * PAGE as u64, len, protection, flags);
            let what = ("mmap", fd, page, pages, protection, shared);
            self.expect(what, outcome(&got), outcome(&expected));
            self.real.maps.extend(got);
        }
        let maps = &mut self.owners[self.owner].maps;
        maps.extend(expected);
        if maps.len() > MAPS {
            let index = self.random.usize(0..maps.len());
            self.take(index);
        }
    }

    /// Pages to map or to export: most often such as there are.
    fn pages(&mut self, buffer: Option<usize>) -> (u64, u64) {
        let (first, count) = match buffer {
            Some(index) => (0, self.owners[self.owner].buffers[index].pages as u64),
            None => {
                let windows = &self.device.windows;
                let window = &windows[self.random.usize(0..windows.len())];
                (window.offset / PAGE as u64, (window.size / PAGE) as u64)
            }
        };
        match self.random.u8(0..8) {
            0 => {
                let first = (first + self.random.u64(0..count + 2)).saturating_sub(1);
                (first, self.random.u64(1..count + 3))
            }
            1 | 2 => (first, count),
            _ => {
                let skip = self.random.u64(0..count);
                (first + skip, self.random.u64(1..=count - skip))
            }
        }
    }

    /// Takes a mapping from its owner, in the model and, if it is this process, in reality.
    fn take(&mut self, index: usize) -> (Mapping, Option<Map>) {
        let map = self.owners[self.owner].maps.swap_remove(index);
        let real = self.mine().then(|| self.real.maps.swap_remove(index));
        (map, real)
    }

    /// Gives one back.
    fn give(&mut self, map: Mapping, real: Option<Map>) {
        self.owners[self.owner].maps.push(map);
        self.real.maps.extend(real);
    }

    /// Some pages of some mapping, cut out of the rest.
    fn part(&mut self) -> Option<(Mapping, Option<Map>)> {
        let index = self.any_map()?;
        let (mut map, mut real) = self.take(index);
        for keep_first in [false, true] {
            let full = self.owners[self.owner].maps.len() + 1 >= MAPS;
            if map.pages > 1 && !full && self.random.bool() {
                let pages = self.random.usize(1..map.pages);
                let (first, last) = map.split(pages);
                let (real_first, real_last) = real.map(|real| real.split(pages * PAGE)).unzip();
                if keep_first {
                    (map, real) = (first, real_first);
                    self.give(last, real_last);
                } else {
                    (map, real) = (last, real_last);
                    self.give(first, real_first);
                }
            }
        }
        Some((map, real))
    }

    fn any_map(&mut self) -> Option<usize> {
        let count = self.owners[self.owner].maps.len();
        (count != 0).then(|| self.random.usize(0..count))
    }

    /// Some bytes of a mapping: which, from where, how many.
    fn span(&mut self, most: usize) -> Option<(usize, usize, usize)> {
        let index = self.any_map()?;
        let size = self.owners[self.owner].maps[index].pages * PAGE;
        let at = match self.random.u8(0..4) {
            0 => self.random.usize(0..size / PAGE) * PAGE,
            _ => self.random.usize(0..size),
        };
        let len = match self.random.u8(0..8) {
            0 => self.random.usize(1..=most),
            _ => self.random.usize(1..=64),
        };
        Some((index, at, len.min(size - at)))
    }

    /// Loads from a mapping.
    fn load(&mut self) {
        let Some((index, at, len)) = self.span(2 * PAGE) else {
            return;
        };
        let map = &self.owners[self.owner].maps[index];
        if self.mine() && map.can_load() {
            let expected = map.load(&self.device, at, len);
            let got = self.real.maps[index].read(at..at + len);
            self.expect(("load", index, at, len), (), ());
            self.expect_bytes(("load", index, at, len), &got, &expected);
        }
    }

    /// Stores to a mapping.
    fn store(&mut self) {
        let Some((index, at, len)) = self.span(2 * PAGE) else {
            return;
        };
        let bytes = self.bytes(len);
        let map = &mut self.owners[self.owner].maps[index];
        if map.can_store() {
            map.store(&mut self.device, at, &bytes);
            if self.mine() {
                self.expect(("store", index, at, len), (), ());
                self.real.maps[index].write(at, &bytes);
            }
        }
    }

    /// `munmap`, of all or a part.
    fn unmap(&mut self) {
        if let Some((map, real)) = self.part() {
            if self.mine() {
                self.expect(("munmap", map.window, map.page, map.pages), (), ());
            }
            drop(real);
        }
    }

    /// `mprotect`.
    fn protect(&mut self) {
        let Some((mut map, real)) = self.part() else {
            return;
        };
        let protections = [
            PROT_READ | PROT_WRITE,
            PROT_READ | PROT_WRITE,
            PROT_READ,
            PROT_NONE,
        ];
        let protection = protections[self.random.usize(0..protections.len())];
        let expected = if protection & PROT_WRITE != 0 && !map.may_write {
            Err(Errno::ACCESS)
        } else {
            map.protection = protection;
            Ok(())
        };
        if let Some(real) = &real {
            self.expect(("mprotect", protection), real.protect(protection), expected);
        }
        self.give(map, real);
    }

    /// `madvise`: to let the pages go for the moment, which loses nothing but copies.
    fn advise(&mut self) {
        let Some((mut map, real)) = self.part() else {
            return;
        };
        let advice = [
            libc::MADV_DONTNEED,
            libc::MADV_DONTNEED,
            libc::MADV_COLD,
            libc::MADV_PAGEOUT,
        ];
        let advice = advice[self.random.usize(0..advice.len())];
        let expected = if self.device.windows[map.window].pages {
            Ok(())
        } else {
            Err(Errno::INVAL)
        };
        if expected.is_ok() && advice == libc::MADV_DONTNEED {
            map.forget_copies();
        }
        if let Some(real) = &real {
            self.expect(("madvise", advice), real.advise(advice), expected);
        }
        self.give(map, real);
    }

    /// `mremap`: to another place, to a shorter one, or to a longer one, which is refused.
    fn remap(&mut self) {
        let Some((mut map, mut real)) = self.part() else {
            return;
        };
        let (way, pages) = (self.random.u8(0..3), self.random.usize(1..=map.pages));
        let flags = libc::MREMAP_MAYMOVE * i32::from(self.random.bool());
        match way {
            0 => {
                if let Some(real) = &mut real {
                    let got = real.move_onto(Map::anonymous(real.len()));
                    self.expect("mremap to another place", got, Ok(()));
                }
            }
            1 => {
                map = map.split(pages).0;
                if let Some(real) = &mut real {
                    let got = real.resize(pages * PAGE, flags);
                    self.expect(("mremap to a shorter one", pages), got, Ok(()));
                }
            }
            _ => {
                if let Some(real) = &mut real {
                    let got = real.resize((map.pages + pages) * PAGE, flags);
                    self.expect(("mremap to a longer one", pages), got, Err(Errno::FAULT));
                }
            }
        }
        self.give(map, real);
    }

    /// `msync` and `fsync`, which have nothing to do.
    fn sync(&mut self) {
        let (_, fd) = self.file();
        let map = self.any_map();
        if self.mine() {
            self.expect("fsync", rustix::fs::fsync(&self.real.files[fd]), Ok(()));
            if let Some(map) = map {
                let got = self.real.maps[map].sync(libc::MS_SYNC);
                self.expect("msync", got, self.owners[self.me].maps[map].sync);
            }
        }
    }

    /// `pread` from the device into a mapping, also of the device itself.
    fn read_into_mapping(&mut self) {
        let Some((index, at, len)) = self.span(2 * PAGE) else {
            return;
        };
        let (file, fd) = self.file();
        let position = self.offset();
        let map = &self.owners[self.owner].maps[index];
        let room = if map.can_store() { len } else { 0 };
        let expected = match position {
            ..0 => Err(Errno::INVAL),
            _ => self.device.read(&self.files[file], position, len, room),
        };
        if let Ok(Some(place)) = &expected {
            if place.meets(&map.place(at, len)) {
                // Its own bytes, shifted: any mixture is right.
                return;
            }
            let bytes = self.device.bytes(place).to_vec();
            self.owners[self.owner].maps[index].store(&mut self.device, at, &bytes);
        }
        if self.mine() {
            let span = self.real.maps[index].span(at, len);
            let got = sys::pread(&self.real.files[fd], span, position);
            let what = ("pread into a mapping", fd, position, index, at, len);
            self.expect(what, got, answer(&expected));
        }
    }

    /// `pwrite` to the device from a mapping, also of the device itself.
    fn write_from_mapping(&mut self) {
        let Some((index, at, len)) = self.span(2 * PAGE) else {
            return;
        };
        let (file, fd) = self.file();
        let position = self.offset();
        let map = &self.owners[self.owner].maps[index];
        if let Ok(Some(place)) = self
            .device
            .read(&file_of(OFlags::RDONLY), position, len, len)
        {
            if place.meets(&map.place(at, len)) {
                return;
            }
        }
        let room = if map.can_load() { len } else { 0 };
        let bytes = map.load(&self.device, at, len);
        let expected = match position {
            ..0 => Err(Errno::INVAL),
            _ => self.device.write(&self.files[file], position, len, room),
        };
        if let Ok(Some(place)) = &expected {
            self.device.put(place, &bytes);
        }
        if self.mine() {
            let span = self.real.maps[index].span(at, len);
            let got = sys::pwrite(&self.real.files[fd], span, position);
            let what = ("pwrite from a mapping", fd, position, index, at, len);
            self.expect(what, got, answer(&expected));
        }
    }

    /// `splice` from the device into a pipe.
    fn splice_out(&mut self) {
        let (file, fd) = self.file();
        let (at, position) = self.position(file);
        // What touches more pages than a pipe has is done in parts. So is a copy of more than one page, by a kernel that records
        // who has a page.
        let most = if boot::has_sanitizers() { 1 } else { 15 };
        let len = self.len().min(most * PAGE);
        let expected = match len {
            0 => Ok(None),
            _ => self.device.read(&self.files[file], position, len, len),
        };
        self.advance(file, at, answer(&expected).unwrap_or(0));
        if self.mine() {
            let (out, into) = pipe().expect("a pipe");
            let mut offset = at.map(|at| at as u64);
            let fd = &self.real.files[fd];
            let none = SpliceFlags::empty();
            let got = splice(fd, offset.as_mut(), &into, None, len, none);
            let what = ("splice from", fd, at, position, len);
            self.expect(what, got, answer(&expected));
            if let Ok(Some(place)) = &expected {
                let got = self.drain(&out, place.range.len());
                self.expect_bytes(what, &got, self.device.bytes(place));
            }
        }
    }

    /// All that a pipe has.
    fn drain(&self, pipe: &OwnedFd, len: usize) -> Vec<u8> {
        let mut done = 0;
        while done < len {
            let span = self.real.scratch.span(done, len - done);
            match sys::read(pipe, span).expect("a pipe") {
                0 => break,
                count => done += count,
            }
        }
        self.real.scratch.read(0..done)
    }

    /// `splice` from a pipe to the device, or `sendfile` from a file: as many writes as it takes, until
    /// one does not do anything.
    fn splice_in(&mut self) {
        let (file, fd) = self.file();
        let whole_file = self.random.bool();
        let (at, position) = match whole_file {
            true => (None, self.files[file].position),
            false => self.position(file),
        };
        let len = self.random.usize(1..2 * PAGE);
        let bytes = self.bytes(len);
        let expected = if !self.files[file].write {
            Err(Errno::BADF)
        } else if self.files[file].append || !checked(position, len) {
            Err(Errno::INVAL)
        } else {
            self.repeat(position, len, |this, position, done| {
                let left = len - done;
                let place = this.device.write(&this.files[file], position, left, left)?;
                if let Some(place) = &place {
                    this.device.put(place, &bytes[done..]);
                }
                Ok(place)
            })
        };
        self.advance(file, at, *expected.as_ref().unwrap_or(&0));
        if self.mine() {
            self.real.scratch.write(0, &bytes);
            let span = self.real.scratch.span(0, len);
            let fd = &self.real.files[fd];
            let got = if whole_file {
                let from = memfd_create("bytes", MemfdFlags::CLOEXEC).expect("a file");
                assert_eq!(sys::pwrite(&from, span, 0), Ok(len));
                sendfile(fd, &from, None, len)
            } else {
                let (out, into) = pipe().expect("a pipe");
                assert_eq!(sys::write(&into, span), Ok(len));
                drop(into);
                let mut offset = at.map(|at| at as u64);
                splice(&out, None, fd, offset.as_mut(), len, SpliceFlags::empty())
            };
            let what = ("splice to", fd, at, position, len, whole_file);
            self.expect(what, got, expected);
        }
    }

    /// Does something from a position on again and again, until all is done or there is nothing more to
    /// be had; how many bytes that was, or why the first time came to nothing.
    fn repeat(
        &mut self,
        position: i64,
        len: usize,
        mut act: impl FnMut(&mut Self, i64, usize) -> Result<Option<Place>>,
    ) -> Result<usize> {
        let mut done = 0;
        while done < len {
            match act(self, position + done as i64, done) {
                Ok(Some(place)) => done += place.range.len(),
                Ok(None) => break,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// `sendfile` from the device to a file.
    fn send(&mut self) {
        let (file, fd) = self.file();
        let (at, position) = self.position(file);
        let len = self.len();
        let mut bytes = Vec::new();
        let expected = if !self.files[file].read {
            Err(Errno::BADF)
        } else if !checked(position, len) {
            Err(Errno::INVAL)
        } else {
            self.repeat(position, len, |this, position, done| {
                let left = len - done;
                let place = this.device.read(&this.files[file], position, left, left)?;
                if let Some(place) = &place {
                    bytes.extend_from_slice(this.device.bytes(place));
                }
                Ok(place)
            })
        };
        self.advance(file, at, *expected.as_ref().unwrap_or(&0));
        if self.mine() {
            let to = memfd_create("bytes", MemfdFlags::CLOEXEC).expect("a file");
            let mut offset = at.map(|at| at as u64);
            let fd = &self.real.files[fd];
            let got = sendfile(&to, fd, offset.as_mut(), len);
            let what = ("sendfile from", fd, at, position, len);
            self.expect(what, got, expected);
            let span = self.real.scratch.span(0, bytes.len());
            self.expect(what, sys::pread(&to, span, 0), Ok(bytes.len()));
            let got = self.real.scratch.read(0..bytes.len());
            self.expect_bytes(what, &got, &bytes);
        }
    }

    /// EXPORT.
    fn export(&mut self) {
        let (file, fd) = self.file();
        let (page, pages) = self.pages(None);
        let ragged = self.random.u8(0..16) == 0;
        let size = pages * PAGE as u64 - u64::from(ragged);
        let expected = if !self.files[file].read {
            Err(Errno::ACCESS)
        } else if ragged {
            Err(Errno::INVAL)
        } else {
            self.device.mapping(page, pages).and_then(|(window, page)| {
                let window_ = &self.device.windows[window];
                if !window_.ram {
                    return Err(Errno::OPNOTSUPP);
                }
                Ok(Export {
                    window,
                    page,
                    pages: pages as usize,
                    writable: self.files[file].write && window_.writable,
                })
            })
        };
        if self.mine() {
            let argument = self.argument(&range(page.wrapping_mul(PAGE as u64), size, 0));
            let got = sys::ioctl_fd(&self.real.files[fd], abi::EXPORT, argument);
            let what = ("EXPORT", fd, page, pages, ragged);
            self.expect(what, outcome(&got), outcome(&expected));
            self.real.buffers.extend(got);
        }
        let buffers = &mut self.owners[self.owner].buffers;
        buffers.extend(expected);
        if buffers.len() > BUFFERS {
            let index = self.random.usize(0..buffers.len());
            buffers.swap_remove(index);
            if self.mine() {
                self.real.buffers.swap_remove(index);
            }
        }
    }

    /// The bytes for an ioctl.
    fn argument(&self, bytes: &[u8]) -> Span<'_> {
        self.real.scratch.write(0, bytes);
        self.real.scratch.span(0, bytes.len())
    }

    /// `lseek`.
    fn seek(&mut self) {
        let (file, fd) = self.file();
        let whence = self.random.u32(0..6);
        let offset = match whence as i32 {
            libc::SEEK_CUR | libc::SEEK_END if self.random.u8(0..4) != 0 => {
                self.random.i64(-3 * PAGE as i64..PAGE as i64)
            }
            _ => self.offset(),
        };
        let position = self.files[file].position;
        let expected = self.device.seek(position, offset, whence);
        if let Ok(position) = expected {
            self.files[file].position = position;
        }
        if self.mine() {
            let fd = &self.real.files[fd];
            let got = sys::seek(fd, offset, whence);
            let what = ("lseek", fd, position, offset, whence);
            self.expect(what, got, expected.map(|position| position as usize));
        }
    }

    /// The commands that change all or a range.
    fn clear(&mut self) {
        let (file, fd) = self.file();
        let writable = self.files[file].write;
        let commands = [
            abi::CLEAR,
            abi::CLEAR,
            abi::CLEAR,
            abi::CLEAR,
            abi::MEM_CLEAR,
            abi::MEM_RESET,
            abi::RESET,
        ];
        let command = commands[self.random.usize(0..commands.len())];
        let (offset, len) = (self.offset() as u64, self.len() as u64);
        let expected = match command {
            _ if !writable => Err(Errno::BADF),
            abi::CLEAR => self.device.clear_range(offset, len),
            abi::MEM_CLEAR => {
                self.device.clear();
                Ok(())
            }
            _ => {
                self.device.reset();
                Ok(())
            }
        };
        if self.mine() {
            let argument = self.argument(&range(offset, len, 0));
            let got = sys::ioctl(&self.real.files[fd], command, argument);
            let what = ("ioctl", fd, command, offset, len);
            self.expect(what, got, expected.map(|()| 0));
        }
    }

    /// SYNC and NOTIFY.
    fn announce(&mut self) {
        let (file, fd) = self.file();
        let notify = self.random.bool();
        let (offset, len) = (self.offset() as u64, self.len() as u64);
        let flags = self.random.u32(0..9);
        let expected = if !notify {
            match flags {
                8 => Err(Errno::INVAL),
                _ if flags & 3 == 0 => Err(Errno::INVAL),
                _ if flags & abi::SYNC_READ != 0 && !self.files[file].read => Err(Errno::BADF),
                _ if flags & abi::SYNC_WRITE == 0 => self.device.range(offset, len),
                _ if !self.files[file].write => Err(Errno::BADF),
                _ => self.device.writable_range(offset, len),
            }
        } else if self.files[file].write {
            self.device.generation += 1;
            Ok(())
        } else {
            Err(Errno::BADF)
        };
        if self.mine() {
            let command = if notify { abi::NOTIFY } else { abi::SYNC };
            let argument = self.argument(&range(offset, len, flags));
            let got = sys::ioctl(&self.real.files[fd], command, argument);
            let what = ("ioctl", fd, command, offset, len, flags);
            self.expect(what, got, expected.map(|()| 0));
        }
    }

    /// INFO and WINDOW.
    fn describe(&mut self) {
        let (_, fd) = self.file();
        let windows = self.device.windows.len();
        let index = self.random.usize(0..windows + 2);
        if !self.mine() {
            return;
        }
        let fd = &self.real.files[fd];
        let got = sys::ioctl(fd, abi::INFO, self.argument(&[0; size_of::<abi::Info>()]));
        self.expect("INFO", got, Ok(0));
        let number =
            |at| u64::from_ne_bytes(self.real.scratch.read(at..at + 8).try_into().expect("8"));
        self.expect("INFO", number(8), self.device.size());
        let can_be = self.device.can_show(number(16), self.device.generation);
        self.expect(("INFO", number(16)), can_be, true);
        let mut asked = [0; size_of::<abi::Window>()];
        asked[..4].copy_from_slice(&(index as u32).to_ne_bytes());
        let got = sys::ioctl(fd, abi::WINDOW, self.argument(&asked));
        let expected = self.device.windows.get(index);
        self.expect("WINDOW", got, expected.map(|_| 0).ok_or(Errno::INVAL));
        if let Some(window) = expected {
            let expected = (window.offset, window.size as u64);
            self.expect("WINDOW", (number(8), number(16)), expected);
            let flags = self.real.scratch.read(4..8);
            // What is not RAM is a BAR.
            let expected = (u32::from(window.tracked) * abi::WINDOW_TRACKED)
                | (u32::from(!window.ram) * abi::WINDOW_REVOCABLE);
            self.expect("WINDOW", flags, expected.to_ne_bytes().to_vec());
        }
    }

    /// `poll` and SEEN.
    fn news(&mut self) {
        let (file, fd) = self.file();
        let see = self.random.bool();
        let generation = self.device.generation;
        let file = &mut self.files[file];
        let mut expected = PollFlags::empty();
        expected.set(PollFlags::IN, file.seen != generation);
        expected.set(PollFlags::OUT, file.write);
        if see {
            file.seen = generation;
        }
        if self.mine() {
            let fd = &self.real.files[fd];
            let mut fds = [PollFd::new(fd, PollFlags::IN | PollFlags::OUT)];
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            poll(&mut fds, Some(&now)).expect("poll");
            let mut got = fds[0].revents();
            if self.device.is_tracked() && !expected.contains(PollFlags::IN) {
                // A store may have been noticed.
                got.remove(PollFlags::IN);
            }
            self.expect(("poll", fd), got, expected);
            if see {
                let got = sys::ioctl(fd, abi::SEEN, self.argument(&[0; 8]));
                self.expect(("SEEN", fd), got, Ok(0));
                let got = self.real.scratch.read(0..8).try_into().expect("8");
                let got = u64::from_ne_bytes(got);
                let can_be = self.device.can_show(got, generation);
                self.expect(("SEEN", fd, got), can_be, true);
            }
        }
    }

    /// CHANGES, in as many calls as it takes. After it, the process knows what is in tracked windows.
    fn changes(&mut self) {
        /// Where in the scratch memory the changes are put.
        const FOUND: usize = PAGE;
        let (file, fd) = self.file();
        let room = self.random.usize(1..9);
        let expected = match (self.files[file].read, self.device.is_tracked()) {
            (false, _) => Err(Errno::BADF),
            (true, false) => Err(Errno::OPNOTSUPP),
            (true, true) => Ok(0),
        };
        if expected.is_ok() {
            self.files[file].seen = self.device.generation;
        }
        if !self.mine() {
            return;
        }
        let mut asked = [0; size_of::<abi::Changes>()];
        asked[..8].copy_from_slice(&self.since.to_ne_bytes());
        asked[24..32].copy_from_slice(&self.device.size().to_ne_bytes());
        let found = self.real.scratch.address() + FOUND;
        asked[32..40].copy_from_slice(&found.to_ne_bytes());
        asked[40..44].copy_from_slice(&(room as u32).to_ne_bytes());
        loop {
            let got = sys::ioctl(&self.real.files[fd], abi::CHANGES, self.argument(&asked));
            self.expect(("CHANGES", fd, self.since, room), got, expected);
            if expected.is_err() {
                return;
            }
            asked.copy_from_slice(&self.real.scratch.read(0..size_of::<abi::Changes>()));
            let count = u32::from_ne_bytes(asked[44..48].try_into().expect("4")) as usize;
            assert!(count <= room, "{count} changes with room for {room}");
            let found = self.real.scratch.read(FOUND..FOUND + count * 16);
            let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("8"));
            for change in found.chunks(16) {
                self.renew(number(&change[..8]), number(&change[8..]));
            }
            if number(&asked[24..32]) == 0 {
                self.since = number(&asked[8..16]);
                break;
            }
        }
        let bytes = self.device.bytes.iter().zip(&self.known);
        for (window, (bytes, known)) in self.device.windows.iter().zip(bytes) {
            if window.tracked {
                self.expect_bytes("what is known", known, bytes);
            }
        }
    }

    /// Takes note of a range of a tracked window.
    fn renew(&mut self, offset: u64, size: u64) {
        let window = self.device.windows.iter().position(|window| {
            window.tracked && window.offset <= offset && offset + size <= window.end()
        });
        let window = window.unwrap_or_else(|| panic!("{size} bytes at {offset} are not tracked"));
        let start = (offset - self.device.windows[window].offset) as usize;
        let range = start..start + size as usize;
        let place = Place {
            window,
            range: range.clone(),
        };
        self.known[window][range].copy_from_slice(self.device.bytes(&place));
    }

    /// `open` and `close`: another open file in the place of one of the process's own.
    fn open(&mut self) {
        let own = SHARED.len() + self.random.usize(0..OWN);
        let flags = SHARED[self.random.usize(0..SHARED.len())];
        let mut new = file_of(flags);
        new.seen = self.device.generation;
        self.files[own + self.owner * OWN] = new;
        if self.mine() {
            let fd = open_node(&self.real.node, flags).expect("the device");
            self.expect(("open", own, flags), (), ());
            self.real.files[own] = fd;
        }
    }

    /// What fdinfo shows.
    fn look(&mut self) {
        let (file, fd) = self.file();
        // It is a file that takes long to read.
        if self.random.u8(0..4) != 0 || !self.mine() {
            return;
        }
        let shown = fdinfo(&self.real.files[fd]);
        let got = (shown.size, shown.windows.len());
        let expected = (self.device.size(), self.device.windows.len());
        self.expect(("fdinfo", fd), got, expected);
        let seen = shown.seen.expect("it is an open file");
        let can_be = self
            .device
            .can_show(shown.generation, self.device.generation)
            && self.device.can_show(seen, self.files[file].seen)
            && seen <= shown.generation;
        self.expect(("fdinfo", fd, shown.generation, seen), can_be, true);
        let maps = self
            .owners
            .iter()
            .map(|owner| owner.maps.len())
            .sum::<usize>();
        // Neighbours may be one.
        assert!((0..=maps as i64).contains(&shown.mappings.0), "{shown:?}");
    }
}

/// How many bytes there are.
fn len_of(place: &Option<Place>) -> usize {
    place.as_ref().map_or(0, |place| place.range.len())
}

/// How many bytes a call answers.
fn answer(expected: &Result<Option<Place>>) -> Result<usize> {
    expected.as_ref().map(len_of).map_err(|error| *error)
}

/// Whether something came of a call, or why not.
fn outcome<T>(answer: &Result<T>) -> Result<()> {
    answer.as_ref().map(drop).map_err(|error| *error)
}

/// Whether the kernel lets a position and a length through to the driver.
fn checked(position: i64, len: usize) -> bool {
    position >= 0 && position.checked_add(len as i64).is_some()
}

/// The window, and the page in it, of pages of a buffer.
fn within(buffer: &Export, page: u64, pages: u64) -> Result<(usize, usize)> {
    if page + pages > buffer.pages as u64 {
        return Err(Errno::INVAL);
    }
    Ok((buffer.window, buffer.page + page as usize))
}

/// A [`abi::Range`] as bytes.
fn range(offset: u64, size: u64, flags: u32) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&offset.to_ne_bytes());
    bytes[8..16].copy_from_slice(&size.to_ne_bytes());
    bytes[16..20].copy_from_slice(&flags.to_ne_bytes());
    bytes
}
