// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ring between two processes that have a memfd in common.
//!
//! The other process is this program once more. It gets memfd and eventfds in the places of its standard
//! streams, and so must not print.

use chrmem::ring::{self, Reader, Writer};
use chrmem::{Error, EventBell, MapOptions, Mapping, Result};
use libtest_mimic::{Arguments, Trial};
use rustix::event::{eventfd, EventfdFlags};
use rustix::fd::OwnedFd;
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

/// How many records go through.
const RECORDS: u64 = 200_000;
/// Nothing takes a tenth of this, but what hangs.
const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("be-the-writer") => be(write),
        Some("be-a-writer-that-dies") => be(write_and_die),
        Some("be-the-echo") => be(echo),
        Some("be-a-writer-that-waits") => be(write_and_wait),
        _ => {
            let trials = [
                ("records_cross_between_processes", crossing as fn()),
                ("a_writer_that_dies_loses_what_it_did_not_finish", dying),
                ("each_waits_for_the_other", ping_pong),
                ("a_reader_is_told_of_a_writer_that_was_killed", killed),
                ("a_slow_writer_is_not_taken_for_a_dead_one", slow),
            ];
            let trials = trials.map(|(name, test)| {
                Trial::test(name, move || {
                    test();
                    Ok(())
                })
            });
            libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
        }
    }
}

/// The other process: its mapping and its bell are where the standard streams usually are.
fn be(role: fn(Mapping, EventBell) -> Result<()>) -> ExitCode {
    let own = |fd: &dyn Fn() -> std::io::Result<OwnedFd>| fd().expect("a descriptor");
    let memory = MapOptions::new().map_file(stdin()).expect("a mapping");
    let heard = own(&|| stdout().as_fd().try_clone_to_owned());
    let rung = own(&|| stderr().as_fd().try_clone_to_owned());
    let file = own(&|| stdin().as_fd().try_clone_to_owned());
    match role(memory, EventBell::new(heard, rung).with_file(file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A ring of that many bytes, a bell, and another process that has them too.
fn start(role: &str, size: u64) -> (Mapping, EventBell, Child) {
    let memfd = memfd_create("ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memfd, size).unwrap();
    fcntl_add_seals(&memfd, SealFlags::SHRINK).unwrap();
    let memory = MapOptions::new().map_file(&memfd).unwrap();
    ring::format(&memory).unwrap();
    let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let (mine, theirs) = (event(), event());
    let bell = EventBell::new(mine.try_clone().unwrap(), theirs.try_clone().unwrap())
        .with_file(memfd.try_clone().unwrap());
    let child = Command::new(std::env::current_exe().unwrap())
        .arg(role)
        .stdin(memfd)
        .stdout(theirs)
        .stderr(mine)
        .spawn()
        .unwrap();
    (memory, bell, child)
}

/// The record with this number: its number, and some bytes that follow from it.
fn record(number: u64) -> Vec<u8> {
    let length = (number * 37 % 300) as usize;
    let mut record = number.to_ne_bytes().to_vec();
    record.extend((0..length).map(|at| (number as usize * 3 + at) as u8));
    record
}

fn write(memory: Mapping, bell: EventBell) -> Result<()> {
    let mut writer = Writer::attach(memory, bell)?;
    (0..RECORDS).try_for_each(|number| writer.write(&record(number), LIMIT))
}

fn crossing() {
    // Room for some records only, so that both wait often, and an odd number of bytes.
    let (memory, bell, mut child) = start("be-the-writer", 192 + 1003);
    let mut reader = Reader::attach(memory, bell).unwrap();
    let (mut out, mut number) = (Vec::new(), 0);
    while reader.read(&mut out, LIMIT).unwrap() {
        assert_eq!(out, record(number), "record {number}");
        number += 1;
    }
    assert_eq!(number, RECORDS);
    assert!(child.wait().unwrap().success());
}

fn write_and_die(memory: Mapping, bell: EventBell) -> Result<()> {
    let mut writer = Writer::attach(memory, bell)?;
    (0..3).try_for_each(|number| writer.write(&record(number), LIMIT))?;
    // Without a destructor.
    std::process::abort()
}

fn dying() {
    let (memory, bell, mut child) = start("be-a-writer-that-dies", 4096);
    assert!(!child.wait().unwrap().success());
    let mut reader = Reader::attach(&memory, bell).unwrap();
    let mut out = Vec::new();
    for number in 0..3 {
        assert!(reader.read(&mut out, LIMIT).unwrap());
        assert_eq!(out, record(number));
    }
    // It did not say that it left.
    let error = reader.read(&mut out, LIMIT);
    assert!(
        matches!(error, Err(Error::RingAbandoned { end: "writer" })),
        "{error:?}"
    );
    let error = reader.is_finished();
    assert!(
        matches!(error, Err(Error::RingAbandoned { .. })),
        "{error:?}"
    );
    let (bell, _) = EventBell::pair().unwrap();
    let error = Writer::attach(&memory, bell).err();
    assert!(matches!(error, Some(Error::RingTaken { end: "writer" })));
    let (bell, _) = EventBell::pair().unwrap();
    let mut writer = Writer::take_over(&memory, bell).unwrap();
    writer.write(&record(7), LIMIT).unwrap();
    assert!(reader.read(&mut out, LIMIT).unwrap());
    assert_eq!(out, record(7));
    // Of this one nothing can be told, as its bell has no file.
    let error = reader.read(&mut out, Some(Duration::from_millis(1)));
    assert!(matches!(error, Err(Error::TimedOut)), "{error:?}");
}

fn write_and_wait(memory: Mapping, bell: EventBell) -> Result<()> {
    let mut writer = Writer::attach(memory, bell)?;
    writer.write(&record(1), LIMIT)?;
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// While it is waited for, not before.
fn killed() {
    let (memory, bell, mut child) = start("be-a-writer-that-waits", 4096);
    let mut reader = Reader::attach(&memory, bell).unwrap();
    let mut out = Vec::new();
    assert!(reader.read(&mut out, LIMIT).unwrap());
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let error = reader.read(&mut out, LIMIT);
    assert!(
        matches!(error, Err(Error::RingAbandoned { end: "writer" })),
        "{error:?}"
    );
    killer.join().unwrap();
}

fn slow() {
    let (memory, bell, mut child) = start("be-a-writer-that-waits", 4096);
    let mut reader = Reader::attach(&memory, bell).unwrap();
    let mut out = Vec::new();
    assert!(reader.read(&mut out, LIMIT).unwrap());
    let error = reader.read(&mut out, Some(Duration::from_millis(1500)));
    assert!(matches!(error, Err(Error::TimedOut)), "{error:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Reads a record from the first half, and writes it to the second.
fn echo(memory: Mapping, bell: EventBell) -> Result<()> {
    // One bell will do for both rings: it is heard more often than needed.
    let heard = bell.as_fd().try_clone_to_owned().expect("a descriptor");
    let rung = stderr().as_fd().try_clone_to_owned().expect("a descriptor");
    drop(memory);
    let half = |range| MapOptions::new().range(range).map_file(stdin());
    let mut reader = Reader::attach(half(0..4096)?, bell)?;
    let mut writer = Writer::attach(half(4096..8192)?, EventBell::new(heard, rung))?;
    let mut out = Vec::new();
    while reader.read(&mut out, LIMIT)? {
        writer.write(&out, LIMIT)?;
    }
    Ok(())
}

fn ping_pong() {
    let memfd = memfd_create("rings", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memfd, 8192).unwrap();
    fcntl_add_seals(&memfd, SealFlags::SHRINK).unwrap();
    let [there, back] = [0..4096, 4096..8192].map(|range| {
        let memory = MapOptions::new().range(range).map_file(&memfd).unwrap();
        ring::format(&memory).unwrap();
        memory
    });
    let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let (mine, theirs) = (event(), event());
    let [one, other] =
        [(); 2].map(|()| EventBell::new(mine.try_clone().unwrap(), theirs.try_clone().unwrap()));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("be-the-echo")
        .stdin(memfd)
        .stdout(theirs)
        .stderr(mine)
        .spawn()
        .unwrap();
    let mut writer = Writer::attach(there, one).unwrap();
    let mut reader = Reader::attach(back, other).unwrap();
    let mut out = Vec::new();
    for number in 0..10_000 {
        writer.write(&record(number), LIMIT).unwrap();
        assert!(reader.read(&mut out, LIMIT).unwrap());
        assert_eq!(out, record(number));
    }
    drop(writer);
    assert!(!reader.read(&mut out, LIMIT).unwrap());
    assert!(child.wait().unwrap().success());
}
