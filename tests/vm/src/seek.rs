// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lseek`: the device is a sparse file, here one of a single piece.

use crate::driver::{self, SIZE};
use crate::sys;
use libc::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use rustix::io::Errno;
use std::os::fd::AsFd;

crate::tests! {
    every_way_of_seeking
    a_seek_that_fails_moves_nothing
    the_position_is_the_open_file_s
    reading_goes_on_where_seeking_went
}

fn seek(fd: impl AsFd, offset: i64, whence: i32) -> Result<usize, Errno> {
    sys::seek(fd, offset, whence as u32)
}

fn every_way_of_seeking() {
    const END: i64 = SIZE as i64;
    let fd = driver::open();
    for (start, offset, whence, answer) in [
        (0, 0, SEEK_SET, Ok(0)),
        (0, 1, SEEK_SET, Ok(1)),
        (0, END - 1, SEEK_SET, Ok(SIZE - 1)),
        (0, END, SEEK_SET, Ok(SIZE)),
        (0, END + 1, SEEK_SET, Err(Errno::INVAL)),
        (0, -1, SEEK_SET, Err(Errno::INVAL)),
        (0, i64::MAX, SEEK_SET, Err(Errno::INVAL)),
        (0, i64::MIN, SEEK_SET, Err(Errno::INVAL)),
        (100, 0, SEEK_CUR, Ok(100)),
        (100, 50, SEEK_CUR, Ok(150)),
        (100, -100, SEEK_CUR, Ok(0)),
        (100, END - 100, SEEK_CUR, Ok(SIZE)),
        (100, -101, SEEK_CUR, Err(Errno::INVAL)),
        (100, END - 99, SEEK_CUR, Err(Errno::INVAL)),
        (100, i64::MAX, SEEK_CUR, Err(Errno::INVAL)),
        (100, i64::MIN, SEEK_CUR, Err(Errno::INVAL)),
        (0, 0, SEEK_END, Ok(SIZE)),
        (0, -1, SEEK_END, Ok(SIZE - 1)),
        (0, -END, SEEK_END, Ok(0)),
        (0, -END - 1, SEEK_END, Err(Errno::INVAL)),
        (0, 1, SEEK_END, Err(Errno::INVAL)),
        (0, i64::MAX, SEEK_END, Err(Errno::INVAL)),
        (0, i64::MIN, SEEK_END, Err(Errno::INVAL)),
        (0, 0, SEEK_DATA, Ok(0)),
        (9, 17, SEEK_DATA, Ok(17)),
        (0, END - 1, SEEK_DATA, Ok(SIZE - 1)),
        (0, END, SEEK_DATA, Err(Errno::NXIO)),
        (0, END + 1, SEEK_DATA, Err(Errno::NXIO)),
        (0, i64::MAX, SEEK_DATA, Err(Errno::NXIO)),
        (0, -1, SEEK_DATA, Err(Errno::NXIO)),
        (0, i64::MIN, SEEK_DATA, Err(Errno::NXIO)),
        (0, 0, SEEK_HOLE, Ok(SIZE)),
        (9, 17, SEEK_HOLE, Ok(SIZE)),
        (0, END - 1, SEEK_HOLE, Ok(SIZE)),
        (0, END, SEEK_HOLE, Err(Errno::NXIO)),
        (0, END + 1, SEEK_HOLE, Err(Errno::NXIO)),
        (0, -1, SEEK_HOLE, Err(Errno::NXIO)),
        (0, i64::MAX, SEEK_HOLE, Err(Errno::NXIO)),
        (0, 0, 5, Err(Errno::INVAL)),
        (0, 0, 99, Err(Errno::INVAL)),
        (0, 0, -1, Err(Errno::INVAL)),
        (0, 0, i32::MIN, Err(Errno::INVAL)),
    ] {
        assert_eq!(seek(&fd, start, SEEK_SET), Ok(start as usize));
        assert_eq!(
            seek(&fd, offset, whence),
            answer,
            "from {start} by {offset}, way {whence}"
        );
        let now = answer.unwrap_or(start as usize);
        assert_eq!(
            seek(&fd, 0, SEEK_CUR),
            Ok(now),
            "from {start} by {offset}, way {whence}"
        );
    }
}

fn a_seek_that_fails_moves_nothing() {
    let fd = driver::open();
    assert_eq!(seek(&fd, 77, SEEK_SET), Ok(77));
    for (offset, whence) in [
        (-78, SEEK_CUR),
        (1, SEEK_END),
        (i64::MAX, SEEK_DATA),
        (0, 42),
    ] {
        seek(&fd, offset, whence).unwrap_err();
        assert_eq!(seek(&fd, 0, SEEK_CUR), Ok(77));
    }
}

fn the_position_is_the_open_file_s() {
    let (fd, other) = (driver::open(), driver::open());
    let same = fd.try_clone().expect("dup");
    assert_eq!(seek(&fd, 500, SEEK_SET), Ok(500));
    assert_eq!(seek(&same, 0, SEEK_CUR), Ok(500));
    assert_eq!(seek(&other, 0, SEEK_CUR), Ok(0));
}

fn reading_goes_on_where_seeking_went() {
    let fd = driver::open();
    driver::put(&fd, 0, &driver::pattern(SIZE));
    assert_eq!(seek(&fd, -10, SEEK_END), Ok(SIZE - 10));
    let mut bytes = [0; 4];
    assert_eq!(rustix::io::read(&fd, &mut bytes), Ok(4));
    assert_eq!(bytes, driver::pattern(SIZE)[SIZE - 10..SIZE - 6]);
    assert_eq!(seek(&fd, 0, SEEK_CUR), Ok(SIZE - 6));
    // A pread or pwrite does not move on.
    driver::get(&fd, 0, 100);
    driver::put(&fd, 0, b"x");
    assert_eq!(seek(&fd, 0, SEEK_CUR), Ok(SIZE - 6));
}
