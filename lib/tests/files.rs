// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files that are no devices: what of them is mapped, and what happens when they become shorter.

use chrmem::{Errno, Error, MapOptions, Mapping};
use rustix::fs::{fcntl_add_seals, fcntl_getfl, ftruncate, memfd_create, MemfdFlags, SealFlags};
use rustix::fs::{fcntl_setfl, OFlags};
use rustix::pipe::{pipe_with, PipeFlags};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const PAGE: usize = 4096;

/// A file on a disk, of `size` bytes, byte `n` being `n % 251`.
fn file(size: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(size)).unwrap();
    file
}

/// A pipe: where it is read, and where it is written. `std::io::pipe` is younger than Debian 13's Rust.
fn pipe() -> (File, File) {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (out.into(), into.into())
}

/// A memfd of `size` zeroes, sealed.
fn memfd(size: usize, seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("file", flags).unwrap();
    ftruncate(&fd, size as u64).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// A file of secret memory, unless the kernel has none.
#[allow(unsafe_code, reason = "rustix does not have this call")]
fn memfd_secret() -> Option<OwnedFd> {
    // SAFETY: the call touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    // SAFETY: the kernel has just made it, for this caller.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn bytes(memory: &Mapping) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    memory.copy_to(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_file_is_mapped_to_its_last_byte() {
    let file = file(2 * PAGE + 100);
    let memory = MapOptions::new().map_file(&file).unwrap();
    assert_eq!((memory.offset(), memory.can_shrink()), (0, true));
    assert_eq!(bytes(&memory), pattern(2 * PAGE + 100));

    for (start, end) in [(1, 2), (5000, 8292), (4095, 4097), (8291, 8292)] {
        let memory = MapOptions::new().range(start..end).map_file(&file).unwrap();
        assert_eq!(memory.offset(), start);
        assert_eq!(bytes(&memory), pattern(8292)[start as usize..end as usize]);
    }
}

#[test]
fn what_does_not_lie_in_a_file_is_refused_with_the_numbers() {
    let file = file(100);
    for (start, end) in [(0, 101), (101, 102), (200, 100), (99, u64::MAX)] {
        let error = MapOptions::new().range(start..end).map_file(&file);
        let Err(Error::PastEnd {
            start: s,
            end: e,
            size: 100,
            ..
        }) = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((s, e), (start, end));
    }
    let error = MapOptions::new().range(101..).map_file(&file).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("bytes 101..100 do not lie in /"), "{text}");
    assert!(text.ends_with(", which has 100 bytes"), "{text}");
    for range in [100..100, 7..7] {
        let error = MapOptions::new().range(range).map_file(&file).unwrap_err();
        assert!(matches!(error, Error::EmptyRange { .. }), "{error:?}");
    }
}

#[test]
fn a_file_that_cannot_be_mapped_says_so() {
    let (end, _other) = pipe();
    let error = MapOptions::new().map_file(&end).unwrap_err();
    assert!(matches!(error, Error::UnknownSize { .. }), "{error:?}");
    let error = MapOptions::new().range(..10).map_file(&end).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NODEV));
    let error = MapOptions::new().window("x").map_file(&end).unwrap_err();
    assert!(matches!(error, Error::NotADevice { .. }), "{error:?}");
}

#[test]
fn more_memory_than_there_is_is_refused() {
    for size in [usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX] {
        let error = Mapping::anonymous(size).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOMEM));
        let text = format!("cannot map {size} bytes of memory");
        assert_eq!(error.to_string(), text);
    }
}

/// Not a regular file, not a block device, and no size to be had: `/dev/zero` maps.
#[test]
fn another_device_is_mapped_as_far_as_asked_for() {
    let zero = File::options()
        .read(true)
        .write(true)
        .open("/dev/zero")
        .unwrap();
    let error = MapOptions::new().map_file(&zero).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/dev/zero does not tell its size: say where the range to be mapped ends"
    );
    let memory = MapOptions::new().range(..5000).map_file(&zero).unwrap();
    memory.copy_from(4990, b"0123456789").unwrap();
    assert_eq!(memory.c_string(4990).unwrap(), b"0123456789");
    assert!(!memory.can_shrink());
}

#[test]
fn a_mapping_is_as_writable_as_its_file_and_its_options() {
    let named = tempfile::NamedTempFile::new().unwrap();
    named.as_file().write_all(&pattern(PAGE)).unwrap();
    let reader = File::open(named.path()).unwrap();
    for memory in [
        MapOptions::new().map_file(&reader).unwrap(),
        MapOptions::new().read_only().map_file(&named).unwrap(),
        MapOptions::new()
            .read_only()
            .private()
            .map_file(&named)
            .unwrap(),
    ] {
        assert!(!memory.is_writable());
        assert!(matches!(memory.copy_from(0, b"x"), Err(Error::ReadOnly)));
        assert!(matches!(memory.write(0, &7_u32), Err(Error::ReadOnly)));
        assert!(matches!(
            memory.store(0, 7_u32, Ordering::Relaxed),
            Err(Error::ReadOnly)
        ));
        assert!(matches!(memory.atomic::<u32>(0), Err(Error::ReadOnly)));
        assert_eq!(bytes(&memory), pattern(PAGE));
    }
    let memory = MapOptions::new().map_file(&named).unwrap();
    memory.copy_from(1, b"written").unwrap();
    let mut start = [0; 8];
    File::open(named.path())
        .unwrap()
        .read_exact(&mut start)
        .unwrap();
    assert_eq!(&start, b"\0written");
}

#[test]
fn what_is_written_to_a_private_mapping_stays_there() {
    let named = tempfile::NamedTempFile::new().unwrap();
    named.as_file().write_all(&pattern(2 * PAGE)).unwrap();
    // Also of a file that is only open for reading.
    let reader = File::open(named.path()).unwrap();
    let memory = MapOptions::new().private().map_file(&reader).unwrap();
    memory.copy_from(0, b"private").unwrap();
    assert_eq!(&bytes(&memory)[..7], b"private");
    assert_eq!(std::fs::read(named.path()).unwrap(), pattern(2 * PAGE));
    // The page that was not written still follows the file.
    (named.as_file())
        .seek(SeekFrom::Start(PAGE as u64))
        .unwrap();
    named.as_file().write_all(b"shared").unwrap();
    assert_eq!(&bytes(&memory)[PAGE..PAGE + 6], b"shared");
}

#[test]
fn populated_and_locked_pages_are_there_at_once() {
    let fd = memfd(16 * PAGE, SealFlags::SHRINK);
    let resident = || {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (_, rest) = smaps.split_once("/memfd:file").unwrap();
        let number = |key: &str| {
            let (_, rest) = rest.split_once(key).unwrap();
            rest.split_whitespace()
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        };
        (number("\nRss:"), number("\nLocked:"))
    };
    for (options, rss, locked) in [
        (MapOptions::new(), 0, 0),
        (MapOptions::new().populate(), 64, 0),
        (MapOptions::new().lock(), 64, 64),
    ] {
        let memory = options.map_file(&fd).unwrap();
        assert_eq!(resident(), (rss, locked), "{options:?}");
        drop(memory);
    }
}

#[test]
fn a_file_that_became_shorter_is_an_error_for_every_access() {
    let file = file(4 * PAGE);
    for options in [MapOptions::new(), MapOptions::new().private()] {
        file.set_len(4 * PAGE as u64).unwrap();
        let memory = options.map_file(&file).unwrap();
        file.set_len(PAGE as u64 + 10).unwrap();
        let gone = |result: chrmem::Result<()>, at: usize| {
            let Err(error) = result else {
                panic!("no error")
            };
            assert_eq!(error.errno(), Some(Errno::FAULT));
            assert_eq!(
                error.to_string(),
                format!(
                    "cannot access the bytes from offset {at} on of a mapping of 16384 bytes: its file became \
                     shorter, its disk failed, or the kernel does not copy such memory"
                )
            );
            let Error::Gone { offset, size, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!((offset, size), (at, 4 * PAGE));
        };
        let mut all = vec![0; 4 * PAGE];
        // What is there of the last page can be read to its end, as everywhere.
        memory.copy_to(0, &mut all[..2 * PAGE]).unwrap();
        gone(memory.copy_to(0, &mut all), 2 * PAGE);
        gone(memory.copy_to(3 * PAGE, &mut all[..1]), 3 * PAGE);
        gone(memory.copy_from(2 * PAGE - 5, b"0123456789"), 2 * PAGE);
        gone(memory.read::<u64>(2 * PAGE).map(drop), 2 * PAGE);
        gone(memory.write(2 * PAGE, &7_u64), 2 * PAGE);
        gone(memory.array::<u64>().get(1024).map(drop), 2 * PAGE);
        gone(memory.array::<u64>().set(1024, &1), 2 * PAGE);
        gone(memory.c_string(2 * PAGE).map(drop), 2 * PAGE);
        for result in [
            memory.load::<u32>(0, Ordering::Relaxed).map(drop),
            memory.store(0, 0_u32, Ordering::Relaxed),
            memory.atomic::<u32>(0).map(drop),
        ] {
            assert!(matches!(result, Err(Error::CanShrink)), "{result:?}");
        }
        // And it is there again when the file is.
        file.set_len(4 * PAGE as u64).unwrap();
        memory.copy_to(3 * PAGE, &mut all[..1]).unwrap();
    }
}

/// The kernel copies many elements at once, and the error comes at the first that is gone all the same.
#[test]
fn the_elements_of_a_file_come_up_to_where_it_ends() {
    let file = file(40 * PAGE);
    let memory = MapOptions::new().map_file(&file).unwrap();
    let array = memory.array::<[u8; 3]>();
    let expected: Vec<_> = pattern(40 * PAGE)
        .chunks_exact(3)
        .map(|it| [it[0], it[1], it[2]])
        .collect();
    let all: Vec<_> = array.iter().map(Result::unwrap).collect();
    assert!(all == expected);
    assert_eq!(array.iter().nth(30_000).unwrap().unwrap(), expected[30_000]);
    assert_eq!(array.iter().len(), expected.len());
    file.set_len(20 * PAGE as u64).unwrap();
    let mut elements = array.iter();
    // The last one that is whole ends one byte before.
    for expected in &expected[..20 * PAGE / 3] {
        assert_eq!(elements.next().unwrap().unwrap(), *expected);
    }
    let error = elements.next().unwrap().unwrap_err();
    assert!(
        matches!(error, Error::Gone { offset, .. } if offset == 20 * PAGE),
        "{error:?}"
    );
}

/// Somebody makes the file shorter and longer while it is read and written: each access gives the bytes or
/// an error, and both happen.
#[test]
fn no_race_with_truncation_ends_the_process() {
    let size = 64 * PAGE;
    let file = file(size);
    let memory = MapOptions::new().map_file(&file).unwrap();
    let done = AtomicBool::new(false);
    let (mut copied, mut gone) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                file.set_len(0).unwrap();
                file.set_len(size as u64).unwrap();
            }
        });
        let mut target = vec![0; size];
        for _ in 0..1_000_000 {
            for result in [
                memory.copy_to(0, &mut target),
                memory.copy_to(size - 10, &mut target[..10]),
                memory.copy_from(PAGE - 1, &target[..3 * PAGE]),
            ] {
                match result {
                    Ok(()) => copied += 1,
                    Err(Error::Gone { .. }) => gone += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
            if copied > 1000 && gone > 1000 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(copied > 100 && gone > 100, "{copied} copied, {gone} gone");
}

#[test]
fn a_memfd_that_cannot_shrink_is_memory_like_any() {
    let sealed = memfd(2 * PAGE, SealFlags::SHRINK);
    let memory = MapOptions::new().map_file(&sealed).unwrap();
    assert!(!memory.can_shrink());
    let counter = memory.atomic::<u64>(8).unwrap();
    counter.fetch_add(3, Ordering::Relaxed);
    assert_eq!(memory.load::<u64>(8, Ordering::Relaxed).unwrap(), 3);

    // A seal says nothing of what lies behind the end. A range that reaches there is not for files,
    // but a device may be asked for it.
    #[allow(unsafe_code, reason = "there is no chrmem device here")]
    // SAFETY: a memfd has no ioctls.
    let device = unsafe { chrmem::Device::from_fd_unchecked(sealed) };
    let memory = device.map(0..3 * PAGE as u64).unwrap();
    assert!(memory.can_shrink());
    assert!(matches!(
        memory.read::<u8>(2 * PAGE),
        Err(Error::Gone { offset: 8192, .. })
    ));

    for seals in [SealFlags::empty(), SealFlags::GROW] {
        let open = memfd(PAGE, seals);
        let memory = MapOptions::new().map_file(&open).unwrap();
        assert!(memory.can_shrink(), "{seals:?}");
    }
}

/// Secret memory cannot shrink, and the kernel does not copy it for anyone: so it is accessed like any memory.
#[test]
fn secret_memory_is_memory_like_any() {
    let Some(secret) = memfd_secret() else {
        // Off by a kernel parameter, or not built in.
        return;
    };
    ftruncate(&secret, 2 * PAGE as u64).unwrap();
    let memory = MapOptions::new().map_file(&secret).unwrap();
    assert!(!memory.can_shrink());
    memory.copy_from(100, b"secret").unwrap();
    assert_eq!(memory.c_string(100).unwrap(), b"secret");
    assert_eq!(ftruncate(&secret, PAGE as u64), Err(Errno::INVAL));
    // What lies behind the end is not there.
    let end = 3 * PAGE as u64;
    let error = MapOptions::new().range(..end).map_file(&secret);
    assert!(matches!(error, Err(Error::PastEnd { .. })), "{error:?}");
}

#[test]
#[allow(unsafe_code, reason = "the file is this test's own")]
fn a_plain_mapping_keeps_to_its_window() {
    let file = file(PAGE);
    let options = MapOptions::new().range(5..9);
    // SAFETY: nobody makes the file shorter.
    let memory = unsafe { options.map_plain(&file) }.unwrap();
    assert_eq!(bytes(&memory), [5, 6, 7, 8]);
    // SAFETY: as before.
    let error = unsafe { options.window("nosuch").map_plain(&file) };
    assert!(matches!(error, Err(Error::NotADevice { .. })), "{error:?}");
}

#[test]
fn bytes_are_written_to_a_file_without_a_copy() {
    let source = file(3 * PAGE);
    let mut target = tempfile::tempfile().unwrap();
    let memory = MapOptions::new().range(100..).map_file(&source).unwrap();
    target.write_all(b"head").unwrap();
    memory.write_to(&target).unwrap();
    memory.view(..10).unwrap().write_to(&target).unwrap();
    let mut text = Vec::new();
    target.rewind().unwrap();
    target.read_to_end(&mut text).unwrap();
    let expected = [b"head", &pattern(3 * PAGE)[100..], &pattern(110)[100..]].concat();
    assert!(text == expected, "{} bytes", text.len());
}

#[test]
fn a_pipe_that_does_not_want_to_wait_gets_everything() {
    let size = 1 << 20;
    let memory = MapOptions::new().map_file(file(size)).unwrap();
    let (mut out, into) = pipe();
    let flags = fcntl_getfl(&into).unwrap();
    fcntl_setfl(&into, flags | OFlags::NONBLOCK).unwrap();
    let reader = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        let mut text = Vec::new();
        out.read_to_end(&mut text).unwrap();
        text
    });
    memory.write_to(&into).unwrap();
    drop(into);
    assert!(reader.join().unwrap() == pattern(size));
}

#[test]
fn writing_what_is_gone_says_how_far_it_came() {
    let source = file(4 * PAGE);
    let memory = MapOptions::new().range(96..).map_file(&source).unwrap();
    source.set_len(2 * PAGE as u64).unwrap();
    let target = tempfile::tempfile().unwrap();
    let error = memory.write_to(&target).unwrap_err();
    let Error::Gone { offset, size, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(size, 4 * PAGE - 96);
    assert_eq!(offset as u64, target.metadata().unwrap().len());
    assert_eq!(offset, 2 * PAGE - 96);
}

#[test]
fn nobody_who_reads_is_an_error_with_its_errno() {
    let memory = MapOptions::new().map_file(file(PAGE)).unwrap();
    let (out, into) = pipe();
    drop(out);
    let error = memory.write_to(into.as_fd()).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::PIPE));
    let text = error.to_string();
    let start = "cannot write bytes 0..4096 of a mapping to pipe:";
    assert!(text.starts_with(start), "{text}");
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(error.to_string().starts_with(start), "{error}");
}
