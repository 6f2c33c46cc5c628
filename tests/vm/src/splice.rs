// SPDX-License-Identifier: MIT OR Apache-2.0

//! What goes into a pipe: pages as they are, without a copy, where a window has pages.

use crate::boot;
use crate::driver::{get, put};
use crate::folder::Folder;
use crate::memory;
use crate::sys::{self, Buffer, Map, PAGE, PAGE64};
use rustix::io::Errno;
use rustix::pipe::{pipe, splice, SpliceFlags};
use std::os::fd::{AsFd, OwnedFd};

crate::tests! {
    a_page_in_a_pipe_is_the_device_s
    any_place_and_length
    one_window_at_a_time
    page_frames_are_copied
    a_pipe_keeps_what_is_in_it
    a_pipe_that_is_full_or_closed
}

const NONE: SpliceFlags = SpliceFlags::empty();

/// Splices up to `len` bytes at `offset` into a pipe.
fn fill(from: impl AsFd, mut offset: u64, into: &OwnedFd, len: usize) -> Result<usize, Errno> {
    let before = offset;
    let count = splice(from, Some(&mut offset), into, None, len, NONE)?;
    assert_eq!(offset, before + count as u64);
    Ok(count)
}

/// `len` bytes out of a pipe.
fn drain(out: &OwnedFd, len: usize) -> Vec<u8> {
    let buffer = Buffer::new(len);
    let mut done = 0;
    while done < len {
        done += sys::read(out, buffer.span(done, len - done)).expect("a pipe");
    }
    buffer.read(0..len)
}

/// Bytes of which no two pages are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at / PAGE * 7 + at % 251) as u8)
        .collect()
}

fn a_page_in_a_pipe_is_the_device_s() {
    for settings in [
        "size=64K",
        "size=4M",
        "size=64K cache=noncached",
        "size=64K memory=contiguous",
    ] {
        let folder = Folder::live("pipes", &[("a", settings)]);
        let device = folder.open();
        let map = Map::shared(&device, PAGE).expect("a mapping");
        map.write(0, b"before");
        let (out, into) = pipe().expect("a pipe");
        assert_eq!(fill(&device, 0, &into, PAGE), Ok(PAGE), "{settings}");
        map.write(0, b"after.");
        assert_eq!(drain(&out, PAGE)[..6], *b"after.", "{settings}");
    }
}

fn any_place_and_length() {
    const SIZE: usize = 4 << 20;
    let folder = Folder::live("pipes", &[("a", "size=4M")]);
    let device = folder.open();
    let bytes = pattern(SIZE);
    put(&device, 0, &bytes);
    let (out, into) = pipe().expect("a pipe");
    for (offset, len, given) in [
        (0, 1, 1),
        (PAGE - 1, 2, 2),
        (100, 3 * PAGE, 3 * PAGE),
        ((2 << 20) - 5, 10, 10),
        // A pipe has 16 pages, of which the first has only one byte to give.
        (PAGE - 1, 17 * PAGE, 15 * PAGE + 1),
        (SIZE - 10, 100, 10),
        (SIZE, 100, 0),
    ] {
        assert_eq!(
            fill(&device, offset as u64, &into, len),
            Ok(given),
            "{len} at {offset}"
        );
        assert_eq!(
            drain(&out, given),
            bytes[offset..offset + given],
            "{len} at {offset}"
        );
    }
}

fn one_window_at_a_time() {
    let windows = [
        ("a", "size=2pages"),
        ("b", "size=2pages"),
        ("c", "size=1page offset=8pages"),
    ];
    let folder = Folder::live("pipes", &windows);
    let device = folder.open();
    let (_out, into) = pipe().expect("a pipe");
    assert_eq!(fill(&device, PAGE64, &into, 4 * PAGE), Ok(PAGE));
    assert_eq!(fill(&device, 2 * PAGE64, &into, 4 * PAGE), Ok(2 * PAGE));
    assert_eq!(fill(&device, 4 * PAGE64, &into, PAGE), Err(Errno::NXIO));
    assert_eq!(fill(&device, 8 * PAGE64, &into, 2 * PAGE), Ok(PAGE));
    folder.destroy();
    assert_eq!(fill(&device, 0, &into, 1), Err(Errno::NODEV));
}

fn page_frames_are_copied() {
    let folder = Folder::live("pipes", &[("a", "size=4pages memory=dma")]);
    let device = folder.open();
    let bytes = pattern(4 * PAGE);
    put(&device, 0, &bytes);
    let (out, into) = pipe().expect("a pipe");
    // A kernel that records who has a page gets no more than one at a time for a copy.
    let count = fill(&device, 100, &into, 2 * PAGE).expect("splice");
    assert!(count == 2 * PAGE || boot::has_sanitizers() && count == PAGE);
    put(&device, 0, &[0; 4 * PAGE]);
    assert_eq!(drain(&out, count), bytes[100..100 + count]);
}

fn a_pipe_keeps_what_is_in_it() {
    const ROUNDS: usize = 64;
    let round = || {
        let folder = Folder::live("pipes", &[("a", "size=2M")]);
        let device = folder.open();
        put(&device, 0, &pattern(2 << 20));
        let (out, into) = pipe().expect("a pipe");
        assert_eq!(fill(&device, PAGE64, &into, 2 * PAGE), Ok(2 * PAGE));
        drop((device, folder));
        assert_eq!(drain(&out, PAGE), pattern(2 * PAGE)[PAGE..]);
        // The second page goes with the pipe.
    };
    round();
    let before = memory::free();
    (0..ROUNDS).for_each(|_| round());
    let after = memory::free();
    // The folio of each round would be 2 MiB.
    assert!(
        after + (8 << 20) > before,
        "{before} bytes free, then {after}"
    );
}

fn a_pipe_that_is_full_or_closed() {
    let folder = Folder::live("pipes", &[("a", "size=1M")]);
    let device = folder.open();
    let (out, into) = pipe().expect("a pipe");
    assert_eq!(fill(&device, 0, &into, 1 << 20), Ok(16 * PAGE));
    let again = splice(&device, Some(&mut 0), &into, None, 1, SpliceFlags::NONBLOCK);
    assert_eq!(again, Err(Errno::AGAIN));
    drop(out);
    assert_eq!(fill(&device, 0, &into, 1), Err(Errno::PIPE));
    assert_eq!(get(&device, 0, 4), [0; 4]);
}
