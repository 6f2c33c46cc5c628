// SPDX-License-Identifier: MIT OR Apache-2.0

//! What needs no driver: reading, writing and mapping, on a memfd in the device's place.

use chrmem::{Device, Direction, Errno, Error, MapOptions};
use rustix::fd::OwnedFd;
use rustix::fs::{ftruncate, memfd_create, FileType, MemfdFlags, Mode};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

const PAGE: u64 = 4096;

fn device(size: u64) -> Device {
    stand_in("device", size)
}

/// A stand-in for a device of `size` bytes, byte `n` being `n % 251`.
fn stand_in(name: &str, size: u64) -> Device {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, size).unwrap();
    let device = assume(fd);
    let bytes: Vec<u8> = (0..size).map(pattern).collect();
    assert_eq!(device.write_at(0, &bytes).unwrap(), bytes.len());
    device
}

/// Takes a file that has no ioctls for a device.
#[allow(unsafe_code, reason = "there is no chrmem device here")]
fn assume(fd: impl Into<OwnedFd>) -> Device {
    // SAFETY: memfds, and regular files, know none of chrmem's ioctls.
    unsafe { Device::from_fd_unchecked(fd.into()) }
}

fn pattern(offset: u64) -> u8 {
    (offset % 251) as u8
}

#[test]
fn a_mapping_is_the_range_that_was_asked_for() {
    let device = device(3 * PAGE);
    for (start, end) in [
        (0, 1),
        (0, 3 * PAGE),
        (1, 2),
        (7, 4095),
        (4095, 4097),
        (4096, 8192),
        (5000, 9001),
        (3 * PAGE - 1, 3 * PAGE),
    ] {
        let mapping = device.map(start..end).unwrap();
        assert_eq!(mapping.len() as u64, end - start);
        assert!(mapping.is_writable());
        let mut bytes = vec![0; mapping.len()];
        mapping.copy_to(0, &mut bytes).unwrap();
        let expected: Vec<u8> = (start..end).map(pattern).collect();
        assert_eq!(bytes, expected, "{start}..{end}");
    }
}

#[test]
fn the_ends_of_a_range_mean_what_rust_means() {
    let device = device(PAGE);
    assert_eq!(device.map(3..=5).unwrap().len(), 3);
    assert_eq!(device.map(..10).unwrap().len(), 10);
    let (start, end) = (std::ops::Bound::Excluded(3), std::ops::Bound::Excluded(6));
    let mut bytes = [0; 2];
    device
        .map((start, end))
        .unwrap()
        .copy_to(0, &mut bytes)
        .unwrap();
    assert_eq!(bytes, [4, 5]);
}

#[test]
fn copies_of_every_alignment_and_length_move_their_bytes_and_no_others() {
    let device = device(PAGE);
    let mapping = device.map(0..PAGE).unwrap();
    for offset in 0..20 {
        for length in 0..40 {
            let (from, to) = (offset as u64, (offset + length) as u64);
            let mut bytes = vec![0; length];
            mapping.copy_to(offset, &mut bytes).unwrap();
            assert_eq!(bytes, (from..to).map(pattern).collect::<Vec<u8>>());

            mapping.copy_from(offset, &vec![0xee; length]).unwrap();
            let mut around = vec![0; 64];
            assert_eq!(device.read_at(0, &mut around).unwrap(), 64);
            for (at, byte) in (0..).zip(around) {
                let expected = if (from..to).contains(&at) {
                    0xee
                } else {
                    pattern(at)
                };
                assert_eq!(byte, expected, "byte {at} after {length} bytes at {offset}");
            }
            mapping.copy_from(offset, &bytes).unwrap();
        }
    }
}

#[test]
fn a_copy_that_would_leave_the_mapping_is_refused_with_the_numbers() {
    let device = device(2 * PAGE);
    let mapping = device.map(100..200).unwrap();
    for (offset, length) in [
        (0, 101),
        (1, 100),
        (100, 1),
        (101, 0),
        (usize::MAX, 1),
        (usize::MAX, 0),
    ] {
        let mut bytes = vec![7; length];
        for error in [
            mapping.copy_to(offset, &mut bytes).unwrap_err(),
            mapping.copy_from(offset, &bytes).unwrap_err(),
        ] {
            let Error::OutOfBounds {
                offset: o,
                length: l,
                size: 100,
            } = error
            else {
                panic!("{error:?}");
            };
            assert_eq!((o, l), (offset, length));
        }
        assert_eq!(bytes, vec![7; length]);
    }
    mapping.copy_to(100, &mut []).unwrap();
    let error = mapping.copy_to(90, &mut [0; 11]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "11 bytes at offset 90 do not lie in a mapping of 100 bytes"
    );
}

#[test]
fn a_c_string_ends_at_its_nul_or_with_the_mapping() {
    let device = device(2 * PAGE);
    let mapping = device.map(10..PAGE + 10).unwrap();
    for length in [0, 1, 63, 64, 65, 128, 1000] {
        let mut string = vec![b'x'; length];
        string.push(0);
        string.extend(b"rest");
        mapping.copy_from(5, &string).unwrap();
        assert_eq!(mapping.c_string(5).unwrap(), &string[..length]);
    }
    mapping.copy_from(4000, &[b'y'; 96]).unwrap();
    assert_eq!(mapping.c_string(4000).unwrap(), [b'y'; 96]);
    assert_eq!(mapping.c_string(4096).unwrap(), b"");
    assert!(matches!(
        mapping.c_string(4097),
        Err(Error::OutOfBounds { offset: 4097, .. })
    ));
}

#[test]
fn a_mapping_and_the_device_are_the_same_bytes() {
    let device = device(PAGE);
    let (one, other) = (device.map(0..PAGE).unwrap(), device.map(50..60).unwrap());
    one.copy_from(50, b"stored").unwrap();
    assert_eq!(other.c_string(0).unwrap()[..6], *b"stored");
    device.write_at(50, b"written").unwrap();
    assert_eq!(other.c_string(0).unwrap()[..7], *b"written");
}

#[test]
fn a_mapping_outlives_its_device() {
    let device = device(PAGE);
    let mapping = device.map(1..3).unwrap();
    drop(device);
    let mut bytes = [0; 2];
    mapping.copy_to(0, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2]);
}

#[test]
fn threads_share_a_mapping() {
    let device = device(PAGE);
    let mapping = device.map(0..PAGE).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mapping = &mapping;
            scope.spawn(move || mapping.copy_from(thread * 100, &[b'0' + thread as u8; 100]));
        }
    });
    let mut bytes = [0; 400];
    mapping.copy_to(0, &mut bytes).unwrap();
    assert!(bytes
        .chunks(100)
        .zip(b'0'..)
        .all(|(part, byte)| part.iter().all(|b| *b == byte)));
}

#[test]
fn a_dropped_mapping_is_unmapped() {
    let device = stand_in("dropped", PAGE);
    let mapped = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .contains("memfd:dropped")
    };
    let mapping = device.map(0..PAGE).unwrap();
    assert!(mapped());
    drop(mapping);
    assert!(!mapped());
}

#[test]
fn empty_ranges_are_refused() {
    let device = device(PAGE);
    for (start, end) in [(0, 0), (5, 5), (6, 5), (u64::MAX, u64::MAX)] {
        let error = device.map(start..end).unwrap_err();
        assert!(matches!(error, Error::EmptyRange { start: s, end: e } if (s, e) == (start, end)));
    }
}

#[test]
fn the_largest_numbers_are_refused_by_the_kernel() {
    let device = device(PAGE);
    for (start, end) in [
        (0, u64::MAX),
        (u64::MAX - 1, u64::MAX),
        (1 << 63, (1 << 63) + 1),
    ] {
        let errno = device.map(start..end).unwrap_err().errno().unwrap();
        assert!(
            [Errno::NOMEM, Errno::OVERFLOW, Errno::INVAL].contains(&errno),
            "{errno:?}"
        );
    }
}

#[test]
fn what_was_opened_read_only_is_mapped_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"read me").unwrap();
    let device = assume(File::open(file.path()).unwrap());
    let mapping = device.map(0..7).unwrap();
    assert!(!mapping.is_writable());
    assert_eq!(mapping.c_string(0).unwrap(), b"read me");
    assert!(matches!(mapping.copy_from(0, b"x"), Err(Error::ReadOnly)));

    let error = device.write_at(0, b"x").unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BADF));
}

#[test]
fn errors_say_what_was_tried_on_what() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let device = assume(file.reopen().unwrap());
    for (error, tried) in [
        (device.info().unwrap_err(), "ask for the description of"),
        (device.windows().unwrap_err(), "ask for the description of"),
        (device.window(2).unwrap_err(), "ask for window 2 of"),
        (device.clear().unwrap_err(), "clear"),
        (device.clear_range(3..5).unwrap_err(), "clear bytes 3..5 of"),
        (device.reset().unwrap_err(), "reset"),
        (device.notify().unwrap_err(), "notify the users of"),
        (device.seen().unwrap_err(), "ask for the generation of"),
        (device.map(..).unwrap_err(), "ask for the description of"),
        (
            device.sync(3..5, Direction::Read).unwrap_err(),
            "begin an access to bytes 3..5 of",
        ),
        (device.export(3..5).unwrap_err(), "export bytes 3..5 of"),
        // A regular file is readable at any time.
        (device.wait(None).unwrap_err(), "ask for the generation of"),
    ] {
        assert_eq!(error.to_string(), format!("cannot {tried} {path}"));
        assert_eq!(error.errno(), Some(Errno::NOTTY));
    }
}

/// Anything else is refused before a command is sent to it, which could mean something else there: the
/// bare number 1, chrmem's reset, is `FIBMAP` to a regular file.
#[test]
fn only_a_chrmem_device_is_taken_for_one() {
    let named = tempfile::NamedTempFile::new().unwrap();
    let path = named.path().to_str().unwrap();
    for path in [path, "/dev/null", "/dev/zero", "/", "/proc/self/status"] {
        for result in [Device::open(path), Device::open_read_only(path)] {
            let error = result.expect_err(path);
            assert!(matches!(&error, Error::NotADevice { file } if file == path));
            assert_eq!(error.to_string(), format!("{path} is not a chrmem device"));
            assert_eq!(error.errno(), Some(Errno::NOTTY));
        }
    }
    let file = File::open("/dev/null").unwrap();
    let error = Device::try_from(file.try_clone().unwrap()).unwrap_err();
    assert!(matches!(error, Error::NotADevice { .. }), "{error:?}");
    let error = Device::try_from(OwnedFd::from(file)).unwrap_err();
    assert!(matches!(error, Error::NotADevice { .. }), "{error:?}");
    let error = MapOptions::new().window(0).map_file(named.as_file());
    assert!(matches!(error, Err(Error::NotADevice { .. })), "{error:?}");
}

/// To look whether it is a device must not do anything to what is none: opening a FIFO waits, and opening
/// a watchdog starts it.
#[test]
fn what_is_not_a_device_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(Device::open_read_only(fifo)));
    let result = receive.recv_timeout(Duration::from_secs(10));
    let error = result.expect("no waiting").unwrap_err();
    assert!(matches!(error, Error::NotADevice { .. }), "{error:?}");
}

#[test]
fn a_descriptor_comes_back_from_a_device() {
    let fd = OwnedFd::from(device(PAGE));
    assert_eq!(rustix::fs::fstat(fd.as_fd()).unwrap().st_size, PAGE as i64);
}
