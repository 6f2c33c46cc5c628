// SPDX-License-Identifier: MIT OR Apache-2.0

//! The library's ring in a device, between processes.

use crate::driver::NODE;
use crate::folder::Folder;
use crate::sys::{Child, End};
use chrmem::ring::{format, Reader, Writer};
use chrmem::{Device, Errno, Error, MapOptions, Mapping};
use std::path::Path;
use std::time::Duration;

crate::tests! {
    records_cross_between_processes
    a_writer_that_was_killed_is_succeeded
    two_rings_carry_questions_and_answers
    who_waits_for_a_device_that_goes_is_told
}

/// How many records cross.
const RECORDS: u64 = 5000;
/// Nothing takes a tenth of this, but what hangs.
const LIMIT: Duration = Duration::from_secs(40);

/// The device and a mapping of a window, in an open file of their own: two ends that share one take
/// each other's wake-ups.
fn open(path: impl AsRef<Path>, window: u32) -> (Mapping, Device) {
    let device = Device::open(path).expect("a device");
    let options = MapOptions::new().window(window);
    (options.map(&device).expect("a mapping"), device)
}

/// The record with this number: its number, and some bytes that follow from it.
fn record(number: u64) -> Vec<u8> {
    let length = (number * 37 % 300) as usize;
    let mut record = number.to_ne_bytes().to_vec();
    record.extend((0..length).map(|at| (number as usize * 3 + at) as u8));
    record
}

/// Another process that writes records.
fn writer() -> Child {
    Child::start(|| {
        let (memory, device) = open(NODE, 0);
        let mut writer = Writer::attach(memory, device).expect("a ring");
        for number in 0..RECORDS {
            writer.write(&record(number), Some(LIMIT)).expect("room");
        }
    })
}

fn records_cross_between_processes() {
    let (memory, device) = open(NODE, 0);
    format(&memory).expect("a ring");
    let mut child = writer();
    let mut reader = Reader::attach(memory, device).expect("a ring");
    let (mut out, mut number) = (Vec::new(), 0);
    while reader.read(&mut out, Some(LIMIT)).expect("a record") {
        assert_eq!(out, record(number), "record {number}");
        number += 1;
    }
    assert_eq!(number, RECORDS);
    assert_eq!(child.wait(LIMIT), End::Status(0));
}

fn a_writer_that_was_killed_is_succeeded() {
    let (memory, device) = open(NODE, 0);
    format(&memory).expect("a ring");
    let mut child = writer();
    let mut reader = Reader::attach(&memory, device).expect("a ring");
    let mut out = Vec::new();
    for number in 0..100 {
        assert!(reader.read(&mut out, Some(LIMIT)).expect("a record"));
        assert_eq!(out, record(number));
    }
    // Somewhere in the middle of something.
    child.signal(libc::SIGKILL);
    assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
    let mut number = 100;
    while reader.try_read(&mut out).expect("no damage") {
        assert_eq!(out, record(number), "record {number}");
        number += 1;
    }
    let error = reader.read(&mut out, Some(LIMIT));
    assert!(
        matches!(error, Err(Error::RingAbandoned { end: "writer" })),
        "{error:?}"
    );
    let (others, device) = open(NODE, 0);
    let error = Writer::attach(&others, device).err();
    assert!(matches!(error, Some(Error::RingTaken { end: "writer" })));
    let (others, device) = open(NODE, 0);
    let mut writer = Writer::take_over(others, device).expect("a ring");
    writer
        .write(b"from the successor", Some(LIMIT))
        .expect("room");
    assert!(reader.read(&mut out, Some(LIMIT)).expect("a record"));
    assert_eq!(out, b"from the successor");
}

fn two_rings_carry_questions_and_answers() {
    let folder = Folder::live("rings", &[("there", "size=1page"), ("back", "size=2pages")]);
    let node = folder.node();
    for window in [0, 1] {
        format(&open(&node, window).0).expect("a ring");
    }
    let mut child = Child::start(|| {
        let (memory, device) = open(&node, 0);
        let mut reader = Reader::attach(memory, device).expect("a ring");
        let (memory, device) = open(&node, 1);
        let mut writer = Writer::attach(memory, device).expect("a ring");
        let mut out = Vec::new();
        while reader.read(&mut out, Some(LIMIT)).expect("a question") {
            out.reverse();
            writer.write(&out, Some(LIMIT)).expect("room");
        }
    });
    let (memory, device) = open(&node, 0);
    let mut writer = Writer::attach(memory, device).expect("a ring");
    let (memory, device) = open(&node, 1);
    let mut reader = Reader::attach(memory, device).expect("a ring");
    let mut out = Vec::new();
    for number in 0..500 {
        let mut expected = record(number);
        writer.write(&expected, Some(LIMIT)).expect("room");
        assert!(reader.read(&mut out, Some(LIMIT)).expect("an answer"));
        expected.reverse();
        assert_eq!(out, expected);
    }
    drop(writer);
    assert_eq!(child.wait(LIMIT), End::Status(0));
}

fn who_waits_for_a_device_that_goes_is_told() {
    let folder = Folder::live("going", &[("one", "size=1page")]);
    let (memory, device) = open(folder.node(), 0);
    format(&memory).expect("a ring");
    let mut reader = Reader::attach(memory, device).expect("a ring");
    let mut child = Child::start(|| {
        let (memory, device) = open(folder.node(), 0);
        let mut writer = Writer::attach(memory, device).expect("a ring");
        writer.write(b"last", Some(LIMIT)).expect("room");
        folder.destroy();
        // Its memory is still there, but nobody can be woken any more.
        std::mem::forget(writer);
        // It lives on, so that its death is not what the reader is told.
        std::thread::sleep(LIMIT);
    });
    let mut out = Vec::new();
    assert!(reader.read(&mut out, Some(LIMIT)).expect("a record"));
    assert_eq!(out, b"last");
    let error = reader.read(&mut out, Some(LIMIT)).expect_err("nobody");
    assert_eq!(error.errno(), Some(Errno::NODEV), "{error}");
    child.signal(libc::SIGKILL);
    assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
}
