// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two processors, each doing one thing over and over, at the same time: every pair of things that can
//! be done to a device or beside it, in one process and its one address space.

use crate::driver::{fdinfo, open_node, pattern, try_shown_of, users};
use crate::folder::Folder;
use crate::report::fact;
use crate::scale::scaled;
use crate::sys::{ioctl, ioctl_fd, pread, pwrite, Buffer, Child, End, Map, PAGE};
use chrmem_uapi::abi;
use libc::MADV_DONTNEED;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{self, pipe, SpliceFlags};
use rustix::thread::{sched_setaffinity, CpuSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

crate::tests! {
    every_two_at_once_on_pages
    every_two_at_once_on_page_frames
    every_two_at_once_on_tracked_pages
}

const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of the window.
const SIZE: usize = 16 * PAGE;

/// A thing to do. `Err` says that the device is gone; whatever else goes wrong is a failure.
type Act = fn(&Racer<'_>) -> Result<(), Errno>;

const ACTS: [(&str, Act); 21] = [
    ("open", open),
    ("read", read),
    ("write", write),
    ("map and touch", map_and_touch),
    ("unmap in pieces", unmap_in_pieces),
    ("protect", protect),
    ("move", move_elsewhere),
    ("splice", splice),
    ("zap", zap),
    ("clear", clear),
    ("reset", reset),
    ("notify", notify),
    ("poll", poll_and_see),
    ("look", look),
    ("export", export),
    ("sync", sync),
    ("describe", describe),
    ("show", show),
    ("create", create),
    ("destroy", destroy),
    ("another device", another_device),
];

/// What one of the two has.
struct Racer<'a> {
    /// Which of the two it is.
    index: usize,
    folder: &'a Folder,
    node: &'a str,
    fd: OwnedFd,
    /// What both have mapped.
    common: &'a Map,
    buffer: Buffer,
}

/// Where a device can be gone, or not yet there.
fn unless_gone<T>(answer: Result<T, Errno>) -> Result<T, Errno> {
    match answer {
        Ok(value) => Ok(value),
        Err(error @ (Errno::NODEV | Errno::NXIO | Errno::NOENT)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

impl Racer<'_> {
    /// Calls an ioctl command with a range of the device, or whatever else it takes.
    fn call(&self, command: u32, offset: u64, size: u64, flags: u32) -> Result<(), Errno> {
        self.buffer.write(0, &[0; 128]);
        self.buffer.write(0, &offset.to_ne_bytes());
        self.buffer.write(8, &size.to_ne_bytes());
        self.buffer.write(16, &flags.to_ne_bytes());
        unless_gone(ioctl(&self.fd, command, self.buffer.span(0, 128))).map(drop)
    }
}

fn open(it: &Racer<'_>) -> Result<(), Errno> {
    unless_gone(open_node(it.node, OFlags::RDWR)).map(drop)
}

fn read(it: &Racer<'_>) -> Result<(), Errno> {
    assert_eq!(
        unless_gone(pread(&it.fd, it.buffer.span(0, SIZE), 0))?,
        SIZE
    );
    Ok(())
}

fn write(it: &Racer<'_>) -> Result<(), Errno> {
    let count = unless_gone(pwrite(&it.fd, it.buffer.span(0, SIZE), 0))?;
    assert_eq!(count, SIZE);
    Ok(())
}

fn map_and_touch(it: &Racer<'_>) -> Result<(), Errno> {
    let map = unless_gone(Map::shared(&it.fd, SIZE))?;
    for page in [0, 7, 15] {
        map.write(page * PAGE + 2000, b"touched");
        drop(map.read(page * PAGE + 2000..page * PAGE + 2008));
    }
    Ok(())
}

fn unmap_in_pieces(it: &Racer<'_>) -> Result<(), Errno> {
    let (first, rest) = unless_gone(Map::shared(&it.fd, SIZE))?.split(4 * PAGE);
    let (middle, last) = rest.split(4 * PAGE);
    middle.read(0..8);
    drop(middle);
    last.write(0, b"left");
    drop(first);
    Ok(())
}

/// Splits a mapping by what may be done to it, and makes it one again.
fn protect(it: &Racer<'_>) -> Result<(), Errno> {
    let (first, rest) = unless_gone(Map::shared(&it.fd, SIZE))?.split(4 * PAGE);
    rest.protect(libc::PROT_READ).expect("mprotect");
    first.write(PAGE, b"written");
    drop(rest.read(0..8));
    rest.protect(libc::PROT_READ | libc::PROT_WRITE)
        .expect("mprotect");
    rest.write(0, b"written");
    Ok(())
}

fn move_elsewhere(it: &Racer<'_>) -> Result<(), Errno> {
    let mut map = unless_gone(Map::shared(&it.fd, SIZE))?;
    map.write(3 * PAGE, b"touched");
    map.move_onto(Map::anonymous(SIZE)).expect("mremap");
    map.write(9 * PAGE, b"touched");
    drop(map.read(3 * PAGE..3 * PAGE + 8));
    Ok(())
}

fn splice(it: &Racer<'_>) -> Result<(), Errno> {
    let (out, into) = pipe().expect("a pipe");
    let flags = SpliceFlags::empty();
    let count = unless_gone(pipe::splice(&it.fd, Some(&mut 0), &into, None, SIZE, flags))?;
    assert_eq!(rustix::io::read(&out, &mut [0; SIZE][..]), Ok(count));
    Ok(())
}

/// Takes the pages out of the page table, from where the other one may just touch them.
fn zap(it: &Racer<'_>) -> Result<(), Errno> {
    match it.common.advise(MADV_DONTNEED) {
        // Mappings of page frames refuse it.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => panic!("{error}"),
    }
    it.common.write(5 * PAGE, b"back");
    drop(it.common.read(0..8));
    Ok(())
}

fn clear(it: &Racer<'_>) -> Result<(), Errno> {
    it.call(abi::CLEAR, 100, SIZE as u64 - 200, 0)
}

fn reset(it: &Racer<'_>) -> Result<(), Errno> {
    it.call(abi::RESET, 0, 0, 0)
}

fn notify(it: &Racer<'_>) -> Result<(), Errno> {
    it.call(abi::NOTIFY, 0, 0, 0)
}

fn poll_and_see(it: &Racer<'_>) -> Result<(), Errno> {
    let mut fds = [PollFd::from_borrowed_fd(it.fd.as_fd(), PollFlags::IN)];
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000,
    };
    poll(&mut fds, Some(&time)).expect("poll");
    it.call(abi::SEEN, 0, 0, 0)
}

/// Looks for changes. Where nothing is tracked, there are none to be told of.
fn look(it: &Racer<'_>) -> Result<(), Errno> {
    let mut asked = [0; size_of::<abi::Changes>()];
    asked[24..32].copy_from_slice(&(SIZE as u64).to_ne_bytes());
    let found = it.buffer.address() + PAGE;
    asked[32..40].copy_from_slice(&found.to_ne_bytes());
    asked[40] = 16;
    it.common.write(2 * PAGE, b"stored");
    it.buffer.write(0, &asked);
    match ioctl(&it.fd, abi::CHANGES, it.buffer.span(0, asked.len())) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        answer => unless_gone(answer).map(drop),
    }
}

fn export(it: &Racer<'_>) -> Result<(), Errno> {
    it.buffer.write(0, &[0; 24]);
    it.buffer.write(8, &SIZE.to_ne_bytes());
    let buffer = unless_gone(ioctl_fd(&it.fd, abi::EXPORT, it.buffer.span(0, 24)))?;
    let map = Map::shared(&buffer, SIZE).expect("a mapping");
    map.write(PAGE, b"exported");
    Ok(())
}

fn sync(it: &Racer<'_>) -> Result<(), Errno> {
    it.call(abi::SYNC, 0, SIZE as u64, abi::SYNC_READ | abi::SYNC_WRITE)?;
    let flags = abi::SYNC_READ | abi::SYNC_WRITE | abi::SYNC_END;
    it.call(abi::SYNC, 0, SIZE as u64, flags)
}

fn describe(it: &Racer<'_>) -> Result<(), Errno> {
    it.call(abi::INFO, 0, 0, 0)?;
    it.call(abi::WINDOW, 0, 0, 0)
}

/// What debugfs says of the device, and fdinfo of the file.
fn show(it: &Racer<'_>) -> Result<(), Errno> {
    assert_eq!(fdinfo(&it.fd).windows.len(), 1);
    match try_shown_of(&it.folder.device_name()) {
        Ok(shown) => assert!(shown.windows[0].starts_with("0 one "), "{shown:?}"),
        // Gone, before it was opened or while it was read.
        Err(error) if [Some(libc::ENOENT), Some(libc::EIO)].contains(&error.raw_os_error()) => {
            return Err(Errno::NODEV)
        }
        Err(error) => panic!("debugfs: {error}"),
    }
    Ok(())
}

fn create(it: &Racer<'_>) -> Result<(), Errno> {
    assert_eq!(it.folder.set_live("1"), Ok(()));
    Ok(())
}

fn destroy(it: &Racer<'_>) -> Result<(), Errno> {
    assert_eq!(it.folder.set_live("0"), Ok(()));
    // Nobody else brings it back for those who are in a hurry to use it.
    assert_eq!(it.folder.set_live("1"), Ok(()));
    Ok(())
}

/// Makes a device of its own, and destroys it: numbers, names and memory that both have from the same place.
fn another_device(it: &Racer<'_>) -> Result<(), Errno> {
    let folder = Folder::live(&format!("other{}", it.index), &[("one", "size=1page")]);
    let fd = folder.open();
    it.buffer.write(0, b"its own");
    assert_eq!(pwrite(&fd, it.buffer.span(0, 7), 0), Ok(7));
    drop(folder);
    assert_eq!(pread(&fd, it.buffer.span(0, 7), 0), Err(Errno::NODEV));
    Ok(())
}

/// Has two things done at once, each on a processor of its own, until each was done `times` times and was seen under way by the other
/// one; gives how many succeeded.
fn race(folder: &Folder, acts: [(&str, Act); 2], times: u64) -> u64 {
    let node = &folder.node();
    let open = || open_node(node, OFlags::RDWR).expect(node);
    let common = &Map::shared(open(), SIZE).expect("a mapping");
    let (started, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let successes = AtomicU64::new(0);
    let (busy, met) = (
        [AtomicBool::new(false), AtomicBool::new(false)],
        AtomicBool::new(false),
    );
    let late = AtomicBool::new(false);
    let deadline = Instant::now() + LIMIT;
    std::thread::scope(|scope| {
        for (index, (_, act)) in acts.into_iter().enumerate() {
            let (started, done, successes, late) = (&started, &done, &successes, &late);
            let (busy, met) = (&busy, &met);
            let mut racer = Racer {
                index,
                folder,
                node,
                fd: open(),
                common,
                buffer: Buffer::new(SIZE),
            };
            racer.buffer.write(0, &pattern(SIZE));
            scope.spawn(move || {
                let mut set = CpuSet::new();
                set.set(index);
                sched_setaffinity(None, &set).expect("two processors");
                started.fetch_add(1, Ordering::SeqCst);
                while started.load(Ordering::SeqCst) < 2 {
                    std::hint::spin_loop();
                }
                let mut count = 0;
                // Goes on until the other one has had enough as well.
                while count < times
                    || done.load(Ordering::SeqCst) < 2
                    || !met.load(Ordering::SeqCst)
                {
                    if Instant::now() > deadline {
                        late.store(true, Ordering::SeqCst);
                        done.fetch_add(2, Ordering::SeqCst);
                        break;
                    }
                    busy[index].store(true, Ordering::SeqCst);
                    let answer = act(&racer);
                    if busy[1 - index].load(Ordering::SeqCst) {
                        met.store(true, Ordering::SeqCst);
                    }
                    busy[index].store(false, Ordering::SeqCst);
                    if answer.is_ok() {
                        successes.fetch_add(1, Ordering::Relaxed);
                    } else if let Ok(fd) = open_node(racer.node, OFlags::RDWR) {
                        racer.fd = fd;
                    }
                    count += 1;
                    if count == times {
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(
        !late.load(Ordering::SeqCst),
        "they do not end, or do not meet"
    );
    successes.load(Ordering::SeqCst)
}

/// Has every two things done at once to a device with one window.
fn every_two_at_once(settings: &str) {
    let times = scaled(15) as u64;
    let folder = Folder::live("test", &[("one", settings)]);
    let (mut pairs, mut calls) = (0, 0);
    for (index, one) in ACTS.into_iter().enumerate() {
        // In a process of its own, so that what hangs or dies is known by its name.
        let board = Map::new(
            None,
            0,
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        let board = board.expect("memory");
        let mut child = Child::start(|| {
            for (number, other) in ACTS.into_iter().enumerate().skip(index) {
                board.store(4, number as u32);
                folder.build();
                let successes = race(&folder, [one, other], times);
                board.store(0, board.load(0) + successes as u32);
            }
        });
        let end = child.wait(LIMIT * 2);
        let (name, other) = (one.0, ACTS[board.load(4) as usize].0);
        assert_eq!(end, End::Status(0), "{name} against {other}");
        pairs += ACTS.len() - index;
        calls += u64::from(board.load(0));
        folder.build();
        assert_eq!(folder.shown().mappings.0, 0, "{name}");
    }
    drop(folder);
    assert_eq!(users(), Some(0));
    assert!(calls > pairs as u64 * times, "{calls}");
    fact("load", "pairs of calls raced on two processors", pairs);
    fact("load", "calls that succeeded in these races", calls);
}

fn every_two_at_once_on_pages() {
    every_two_at_once("size=16pages");
}

fn every_two_at_once_on_page_frames() {
    every_two_at_once("size=16pages memory=dma");
}

fn every_two_at_once_on_tracked_pages() {
    every_two_at_once("size=16pages track=1");
}
