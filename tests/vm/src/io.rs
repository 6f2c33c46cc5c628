// SPDX-License-Identifier: MIT OR Apache-2.0

//! `read` and `write` in all their forms.

use crate::driver::{self, generation, get, pattern, put, SIZE};
use crate::sys::{
    pread, pwrite, read, readv, seek, write, writev, Buffer, Child, End, Map, Span, PAGE,
};
use libc::{SEEK_CUR, SEEK_SET};
use rustix::fs::{copy_file_range, fdatasync, fsync, memfd_create, sendfile, MemfdFlags, OFlags};
use rustix::io::Errno;
use rustix::pipe::{pipe, splice, SpliceFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

crate::tests! {
    what_is_written_is_read
    reading_ends_at_the_end
    writing_ends_at_the_end
    nothing_to_copy_is_nothing_done
    huge_counts_stop_at_the_end
    offsets_outside_of_what_a_file_can_have
    bad_pointers_change_nothing
    a_fault_half_way_gives_what_was_done
    vectors_are_one_transfer
    wild_vectors
    nothing_waits
    only_what_it_was_opened_for
    appending_means_nothing
    sync_has_nothing_to_do
    splice_and_sendfile_carry_the_bytes
    a_device_is_read_into_its_own_mapping
    each_write_is_one_change
}

fn position(fd: impl AsFd) -> usize {
    seek(fd, 0, SEEK_CUR as u32).expect("a position")
}

fn what_is_written_is_read() {
    let fd = driver::open();
    put(&fd, 0, &vec![0; SIZE]);
    let bytes = pattern(SIZE);
    for (offset, len) in [
        (0, 1),
        (1, 7),
        (63, 65),
        (100, 1000),
        (SIZE - 1, 1),
        (0, SIZE),
    ] {
        let part = &bytes[offset..offset + len];
        put(&fd, offset as u64, part);
        assert_eq!(
            get(&fd, offset as u64, len),
            part,
            "{len} bytes at {offset}"
        );
        // Nothing beside it has changed.
        let mut all = vec![0; SIZE];
        all[offset..offset + len].copy_from_slice(part);
        assert_eq!(get(&fd, 0, SIZE), all, "{len} bytes at {offset}");
        put(&fd, 0, &vec![0; SIZE]);
    }
}

fn reading_ends_at_the_end() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    let buffer = Buffer::new(2 * SIZE);
    let size = SIZE as i64;
    for (offset, len, count) in [
        (size - 10, 100, 10),
        (size - 10, 10, 10),
        (0, 2 * SIZE, SIZE),
        (size, 1, 0),
        (size, 100, 0),
        (size + 1, 1, 0),
        (i64::MAX - 100, 100, 0),
    ] {
        buffer.write(0, &[0xaa; 2 * SIZE]);
        assert_eq!(
            pread(&fd, buffer.span(0, len), offset),
            Ok(count),
            "{len} bytes at {offset}"
        );
        let mut expected = pattern(SIZE)[(offset as usize).min(SIZE)..][..count].to_vec();
        expected.resize(2 * SIZE, 0xaa);
        assert_eq!(
            buffer.read(0..2 * SIZE),
            expected,
            "{len} bytes at {offset}"
        );
    }
    // The same with a position.
    assert_eq!(read(&fd, buffer.span(0, 3 * SIZE / 2)), Ok(SIZE));
    assert_eq!(read(&fd, buffer.span(0, 1)), Ok(0));
    assert_eq!(position(&fd), SIZE);
}

fn writing_ends_at_the_end() {
    let fd = driver::open();
    put(&fd, 0, &vec![0; SIZE]);
    let buffer = Buffer::new(2 * SIZE);
    buffer.write(0, &[b'x'; 2 * SIZE]);
    let size = SIZE as i64;
    assert_eq!(pwrite(&fd, buffer.span(0, 100), size - 10), Ok(10));
    assert_eq!(get(&fd, SIZE as u64 - 12, 12), b"\0\0xxxxxxxxxx");
    for offset in [size, size + 1, size + PAGE as i64, i64::MAX - 100] {
        assert_eq!(
            pwrite(&fd, buffer.span(0, 100), offset),
            Err(Errno::NOSPC),
            "at {offset}"
        );
    }
    assert_eq!(write(&fd, buffer.span(0, 2 * SIZE)), Ok(SIZE));
    assert_eq!(position(&fd), SIZE);
    assert_eq!(write(&fd, buffer.span(0, 1)), Err(Errno::NOSPC));
    assert_eq!(position(&fd), SIZE);
    assert_eq!(get(&fd, 0, SIZE), vec![b'x'; SIZE]);
}

fn nothing_to_copy_is_nothing_done() {
    let fd = driver::open();
    let (before, buffer) = (generation(), Buffer::new(1));
    for offset in [0, 1, SIZE as i64, SIZE as i64 + 1, i64::MAX] {
        assert_eq!(pread(&fd, buffer.span(0, 0), offset), Ok(0));
        assert_eq!(pwrite(&fd, buffer.span(0, 0), offset), Ok(0));
    }
    assert_eq!(read(&fd, Span::null(0)), Ok(0));
    assert_eq!(write(&fd, Span::null(0)), Ok(0));
    assert_eq!((position(&fd), generation()), (0, before));
}

fn huge_counts_stop_at_the_end() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    let buffer = Buffer::new(SIZE);
    // Not so many that a processor with 47 bits for user space has not room for them.
    for count in [SIZE + 1, 1 << 31, (1 << 32) + 1] {
        assert_eq!(pread(&fd, buffer.span(0, count), 0), Ok(SIZE), "{count}");
        assert_eq!(pwrite(&fd, buffer.span(0, count), 0), Ok(SIZE), "{count}");
        assert_eq!(
            pread(&fd, buffer.span(0, count), 100),
            Ok(SIZE - 100),
            "{count}"
        );
    }
    // User space does not go on that far, on any processor.
    for count in [1 << 57, 1 << 63, usize::MAX] {
        assert_eq!(
            pread(&fd, buffer.span(0, count), 0),
            Err(Errno::FAULT),
            "{count}"
        );
        assert_eq!(
            pwrite(&fd, buffer.span(0, count), 0),
            Err(Errno::FAULT),
            "{count}"
        );
    }
}

fn offsets_outside_of_what_a_file_can_have() {
    let fd = driver::open();
    let buffer = Buffer::new(200);
    for offset in [-1, i64::MIN, -4096, i64::MAX - 50] {
        assert_eq!(
            pread(&fd, buffer.span(0, 100), offset),
            Err(Errno::INVAL),
            "{offset}"
        );
        assert_eq!(
            pwrite(&fd, buffer.span(0, 100), offset),
            Err(Errno::INVAL),
            "{offset}"
        );
    }
}

fn bad_pointers_change_nothing() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    let (before, buffer) = (generation(), Buffer::new(1));
    for len in [1, 100, SIZE, 2 * SIZE] {
        for bad in Span::nowhere(len)
            .into_iter()
            .chain([buffer.span(buffer.len(), len)])
        {
            assert_eq!(read(&fd, bad), Err(Errno::FAULT), "{bad:?}");
            assert_eq!(write(&fd, bad), Err(Errno::FAULT), "{bad:?}");
            assert_eq!(pread(&fd, bad, 100), Err(Errno::FAULT), "{bad:?}");
            assert_eq!(pwrite(&fd, bad, 100), Err(Errno::FAULT), "{bad:?}");
        }
    }
    assert_eq!((position(&fd), generation()), (0, before));
    assert_eq!(get(&fd, 0, SIZE), pattern(SIZE));
}

fn a_fault_half_way_gives_what_was_done() {
    let fd = driver::open();
    let buffer = Buffer::new(PAGE);
    for left in [1, 7, 8, 16, 63, 64, 100, 1000] {
        let start = buffer.len() - left;
        put(&fd, 0, &pattern(SIZE));
        assert_eq!(read(&fd, buffer.span(start, SIZE)), Ok(left));
        assert_eq!(buffer.read(start..buffer.len()), pattern(SIZE)[..left]);
        assert_eq!(position(&fd), left);

        buffer.write(start, &vec![b'w'; left]);
        let before = generation();
        assert_eq!(write(&fd, buffer.span(start, 2000)), Ok(left));
        assert_eq!(generation(), before + 1);
        assert_eq!(position(&fd), 2 * left);
        assert_eq!(get(&fd, left as u64, left), vec![b'w'; left]);
        assert_eq!(
            get(&fd, 2 * left as u64, 50),
            pattern(SIZE)[2 * left..2 * left + 50]
        );
        assert_eq!(seek(&fd, 0, SEEK_SET as u32), Ok(0));
    }
}

fn vectors_are_one_transfer() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    let buffer = Buffer::new(2 * SIZE);
    let spans = [
        buffer.span(0, 3),
        buffer.span(10, 0),
        buffer.span(20, 100),
        buffer.span(200, 1),
    ];
    assert_eq!(readv(&fd, &spans, 4, 7, 0), Ok(104));
    let bytes = pattern(SIZE);
    assert_eq!(buffer.read(0..3), bytes[7..10]);
    assert_eq!(buffer.read(20..120), bytes[10..110]);
    assert_eq!(buffer.read(200..201), bytes[110..111]);
    // With a position, across the end.
    assert_eq!(seek(&fd, SIZE as i64 - 50, SEEK_SET as u32), Ok(SIZE - 50));
    assert_eq!(readv(&fd, &spans, 4, -1, 0), Ok(50));
    assert_eq!(readv(&fd, &spans, 4, -1, 0), Ok(0));

    let before = generation();
    buffer.write(0, b"abc");
    buffer.write(20, &[b'-'; 100]);
    buffer.write(200, b"z");
    assert_eq!(writev(&fd, &spans, 4, 1000, 0), Ok(104));
    assert_eq!(generation(), before + 1);
    let expected = [&b"abc"[..], &[b'-'; 100], b"z"].concat();
    assert_eq!(get(&fd, 1000, 104), expected);
    assert_eq!(writev(&fd, &spans, 4, SIZE as i64 - 5, 0), Ok(5));
    assert_eq!(writev(&fd, &spans, 4, SIZE as i64, 0), Err(Errno::NOSPC));
    // A second part that is not there: what the first could take.
    let broken = [buffer.span(0, 3), Span::null(100)];
    assert_eq!(readv(&fd, &broken, 2, 0, 0), Ok(3));
    assert_eq!(writev(&fd, &broken, 2, 0, 0), Ok(3));
    assert_eq!(writev(&fd, &broken[1..], 1, 0, 0), Err(Errno::FAULT));
}

fn wild_vectors() {
    let fd = driver::open();
    let buffer = Buffer::new(100);
    let spans = vec![buffer.span(0, 1); 1024];
    assert_eq!(readv(&fd, &spans, 1024, 0, 0), Ok(1024));
    assert_eq!(readv(&fd, &spans, 0, 0, 0), Ok(0));
    assert_eq!(writev(&fd, &spans, 0, 0, 0), Ok(0));
    for count in [1025, usize::MAX, 1 << 31] {
        assert_eq!(readv(&fd, &spans, count, 0, 0), Err(Errno::INVAL));
        assert_eq!(writev(&fd, &spans, count, 0, 0), Err(Errno::INVAL));
    }
    let negative = [buffer.span(0, 1 << 63)];
    assert_eq!(readv(&fd, &negative, 1, 0, 0), Err(Errno::INVAL));
    assert_eq!(readv(&fd, &spans, 1, -2, 0), Err(Errno::INVAL));
    assert_eq!(readv(&fd, &spans, 1, 0, 1 << 30), Err(Errno::OPNOTSUPP));
}

/// Reads and writes are done at once, whether there is news or not: for who says that it will not
/// wait, and for io_uring, which waits for news where a file does not say so.
fn nothing_waits() {
    put(driver::open(), 0, &pattern(SIZE));
    let fd = driver::open();
    let buffer = Buffer::new(100);
    let spans = [buffer.span(0, 100)];
    for flags in [0, libc::RWF_NOWAIT] {
        assert_eq!(readv(&fd, &spans, 1, 200, flags), Ok(100));
        assert_eq!(buffer.read(0..100), pattern(SIZE)[200..300]);
        assert_eq!(writev(&fd, &spans, 1, 300, flags), Ok(100));
    }
    assert_eq!(get(&fd, 300, 100), pattern(SIZE)[200..300]);
}

fn only_what_it_was_opened_for() {
    let buffer = Buffer::new(100);
    let (reader, writer) = (driver::open_read_only(), driver::open_write_only());
    assert_eq!(read(&reader, buffer.span(0, 100)), Ok(100));
    assert_eq!(write(&reader, buffer.span(0, 100)), Err(Errno::BADF));
    assert_eq!(read(&writer, buffer.span(0, 100)), Err(Errno::BADF));
    assert_eq!(write(&writer, buffer.span(0, 100)), Ok(100));
}

/// The size of a device is fixed: there is nowhere to append to.
fn appending_means_nothing() {
    let fd = driver::open_as(OFlags::RDWR | OFlags::APPEND);
    put(&fd, 0, &vec![0; SIZE]);
    assert_eq!(rustix::io::write(&fd, b"first"), Ok(5));
    assert_eq!(rustix::io::write(&fd, b"second"), Ok(6));
    put(&fd, 100, b"third");
    assert_eq!(get(&fd, 0, 12), b"firstsecond\0");
    assert_eq!(get(&fd, 100, 6), b"third\0");
}

fn sync_has_nothing_to_do() {
    for fd in [
        driver::open(),
        driver::open_read_only(),
        driver::open_write_only(),
    ] {
        assert_eq!(fsync(&fd), Ok(()));
        assert_eq!(fdatasync(&fd), Ok(()));
    }
    let fd = driver::open_as(OFlags::RDWR | OFlags::SYNC);
    put(&fd, 0, b"synchronous");
}

/// An empty file in memory.
fn file() -> OwnedFd {
    memfd_create("file", MemfdFlags::CLOEXEC).expect("a file")
}

fn splice_and_sendfile_carry_the_bytes() {
    let device = driver::open();
    let bytes = pattern(SIZE);
    put(&device, 0, &bytes);

    // From the device, as far as it goes.
    let copy = file();
    assert_eq!(sendfile(&copy, &device, None, 3 * SIZE), Ok(SIZE));
    assert_eq!(sendfile(&copy, &device, None, 1), Ok(0));
    assert_eq!(get(&copy, 0, SIZE), bytes);
    let mut offset = SIZE as u64 - 10;
    let rest = file();
    assert_eq!(sendfile(&rest, &device, Some(&mut offset), 100), Ok(10));
    assert_eq!(
        (offset, get(&rest, 0, 10)),
        (SIZE as u64, bytes[SIZE - 10..].to_vec())
    );

    // To the device, through a pipe.
    put(&device, 0, &vec![0; SIZE]);
    let (out, into) = pipe().expect("a pipe");
    let mut from = 100;
    let none = SpliceFlags::empty();
    assert_eq!(
        splice(&copy, Some(&mut from), &into, None, 500, none),
        Ok(500)
    );
    let (before, mut to) = (generation(), 200);
    assert_eq!(
        splice(&out, None, &device, Some(&mut to), 500, none),
        Ok(500)
    );
    assert_eq!(to, 700);
    assert_ne!(generation(), before);
    assert_eq!(get(&device, 200, 500), bytes[100..600]);
    assert_eq!(get(&device, 700, 1), [0]);

    // To the device, with sendfile and past the end.
    assert_eq!(seek(&device, 0, SEEK_SET as u32), Ok(0));
    let mut offset = 0;
    assert_eq!(sendfile(&device, &copy, Some(&mut offset), SIZE), Ok(SIZE));
    assert_eq!(get(&device, 0, SIZE), bytes);
    assert_eq!(rustix::io::write(&into, b"too much"), Ok(8));
    let mut end = SIZE as u64;
    assert_eq!(
        splice(&out, None, &device, Some(&mut end), 8, none),
        Err(Errno::NOSPC)
    );

    // From the device to itself, by the pipe and by nothing.
    let (out, into) = pipe().expect("a pipe");
    assert_eq!(splice(&device, Some(&mut 0), &into, None, 64, none), Ok(64));
    assert_eq!(
        splice(&out, None, &device, Some(&mut 2000), 64, none),
        Ok(64)
    );
    assert_eq!(get(&device, 2000, 64), bytes[..64]);
    assert_eq!(
        copy_file_range(&device, None, &copy, None, 10),
        Err(Errno::INVAL)
    );
    assert_eq!(
        copy_file_range(&copy, None, &device, None, 10),
        Err(Errno::INVAL)
    );
}

/// The kernel copies from the very pages that it copies to, and may have to bring them in while it
/// does: nothing may wait for itself.
fn a_device_is_read_into_its_own_mapping() {
    let mut child = Child::start(|| {
        let fd = driver::open();
        put(&fd, 0, &pattern(SIZE));
        let fresh = || Map::shared(&fd, SIZE).expect("a mapping");

        let map = fresh();
        assert_eq!(pread(&fd, map.span(2000, 500), 0), Ok(500));
        assert_eq!(map.read(2000..2500), pattern(SIZE)[..500]);
        let map = fresh();
        assert_eq!(pwrite(&fd, map.span(100, 500), 3000), Ok(500));
        assert_eq!(get(&fd, 3000, 500), pattern(SIZE)[100..600]);
        // Onto themselves, and shifted: the bytes are any mixture then.
        let map = fresh();
        let bytes = map.read(0..SIZE);
        assert_eq!(read(&fd, map.span(0, SIZE)), Ok(SIZE));
        assert_eq!(pwrite(&fd, fresh().span(0, SIZE), 0), Ok(SIZE));
        assert_eq!(get(&fd, 0, SIZE), bytes);
        assert_eq!(pread(&fd, fresh().span(1, SIZE - 1), 0), Ok(SIZE - 1));
        assert_eq!(pwrite(&fd, fresh().span(0, SIZE - 1), 1), Ok(SIZE - 1));
        // Where nothing may be written, nothing is.
        let flags = (libc::PROT_READ, libc::MAP_SHARED);
        let map = Map::new(Some(fd.as_fd()), 0, SIZE, flags.0, flags.1).expect("a mapping");
        assert_eq!(pread(&fd, map.span(0, 100), 200), Err(Errno::FAULT));
    });
    assert_eq!(child.wait(Duration::from_secs(20)), End::Status(0));
}

fn each_write_is_one_change() {
    let fd = driver::open();
    let before = generation();
    put(&fd, 0, b"one");
    put(&fd, 0, &pattern(SIZE));
    get(&fd, 0, SIZE);
    assert_eq!(
        rustix::io::pwrite(&fd, b"no", SIZE as u64),
        Err(Errno::NOSPC)
    );
    assert_eq!(generation(), before + 2);
}
