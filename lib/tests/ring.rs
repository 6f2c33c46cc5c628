// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ring in one process: what it promises, and what a hostile other end can do. Miri can run all of
//! this but for what needs files.

use chrmem::ring::{self, Reader, Writer};
use chrmem::{Bell, Error, EventBell, MapOptions, Mapping, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// A bell for ends that do not wait.
struct Silent;

impl Bell for Silent {
    fn ring(&self) -> Result<()> {
        Ok(())
    }

    fn wait(&self, _: Option<Duration>) -> Result<bool> {
        panic!("nobody waits here")
    }
}

/// A ring with that many bytes of data.
fn ring(capacity: usize) -> Mapping {
    let memory = Mapping::anonymous(192 + capacity).unwrap();
    ring::format(&memory).unwrap();
    memory
}

/// The record with this number.
fn record(number: usize, longest: usize) -> Vec<u8> {
    let length = (number * 7) % (longest + 1);
    (0..length).map(|at| (number + at) as u8).collect()
}

#[test]
fn records_of_every_length_come_out_as_they_went_in() {
    for capacity in [8, 16, 24, 64, 104] {
        let memory = ring(capacity);
        let mut writer = Writer::attach(&memory, Silent).unwrap();
        let mut reader = Reader::attach(&memory, Silent).unwrap();
        assert_eq!(writer.longest(), capacity - 8);
        let (mut inside, mut out) = (VecDeque::new(), vec![7]);
        for number in 0..200 {
            let next = record(number, writer.longest());
            // Where there is no room, one has to come out.
            while !writer.try_write(&next).unwrap() {
                assert!(reader.try_read(&mut out).unwrap());
                assert_eq!(Some(&out), inside.pop_front().as_ref());
            }
            inside.push_back(next);
        }
        while reader.try_read(&mut out).unwrap() {
            assert_eq!(Some(&out), inside.pop_front().as_ref());
        }
        assert_eq!(inside.len(), 0);
    }
}

#[test]
fn a_ring_holds_exactly_its_capacity() {
    let memory = ring(64);
    let mut writer = Writer::attach(&memory, Silent).unwrap();
    for _ in 0..4 {
        assert!(writer.try_write(&[1; 8]).unwrap());
    }
    assert!(!writer.try_write(&[]).unwrap());
    let error = writer.try_write(&[0; 57]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a record of 57 bytes does not fit into a ring for 56 at most"
    );
    let mut reader = Reader::attach(&memory, Silent).unwrap();
    assert!(reader.try_read(&mut Vec::new()).unwrap());
    assert!(!writer.try_write(&[1; 9]).unwrap());
    assert!(writer.try_write(&[1; 8]).unwrap());
}

#[test]
fn what_cannot_be_a_ring_is_refused() {
    for size in [1, 192, 199] {
        let memory = Mapping::anonymous(size).unwrap();
        let error = ring::format(&memory).unwrap_err();
        assert!(matches!(error, Error::RingTooSmall { least: 200, .. }));
        let error = Reader::attach(&memory, Silent).err();
        assert!(matches!(error, Some(Error::NoRing)), "{error:?}");
    }
    let memory = Mapping::anonymous(4096).unwrap();
    let error = Writer::attach(&memory, Silent).err();
    assert!(matches!(error, Some(Error::NoRing)), "{error:?}");
}

#[test]
#[cfg_attr(miri, ignore = "Miri maps no files")]
fn memory_that_can_shrink_makes_no_ring() {
    let fd = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, 4096).unwrap();
    let memory = MapOptions::new().map_file(&fd).unwrap();
    let error = ring::format(&memory).unwrap_err();
    assert!(matches!(error, Error::CanShrink), "{error:?}");
    let error = Reader::attach(&memory, Silent).err();
    assert!(matches!(error, Some(Error::CanShrink)), "{error:?}");
}

#[test]
fn there_is_one_of_each_end() {
    let memory = ring(64);
    let mut writer = Writer::attach(&memory, Silent).unwrap();
    let reader = Reader::attach(&memory, Silent).unwrap();
    let error = Writer::attach(&memory, Silent).err().unwrap();
    assert_eq!(error.to_string(), "the ring has a writer already");
    let error = Reader::attach(&memory, Silent).err().unwrap();
    assert_eq!(error.to_string(), "the ring has a reader already");
    writer.try_write(b"one").unwrap();
    // One that left makes room for the next, which goes on where it was.
    drop((writer, reader));
    Writer::attach(&memory, Silent)
        .unwrap()
        .try_write(b"two")
        .unwrap();
    let mut reader = Reader::attach(&memory, Silent).unwrap();
    let mut out = Vec::new();
    assert!(reader.try_read(&mut out).unwrap());
    assert_eq!(out, b"one");
    // One that died does not say so.
    std::mem::forget(reader);
    assert!(Reader::attach(&memory, Silent).is_err());
    let mut reader = Reader::take_over(&memory, Silent).unwrap();
    assert!(reader.try_read(&mut out).unwrap());
    assert_eq!(out, b"two");
}

#[test]
fn who_waits_for_one_that_left_is_told() {
    let memory = ring(64);
    let mut writer = Writer::attach(&memory, Silent).unwrap();
    let mut reader = Reader::attach(&memory, Silent).unwrap();
    writer.write(b"last", None).unwrap();
    drop(writer);
    let mut out = Vec::new();
    assert!(reader.read(&mut out, None).unwrap());
    assert_eq!(out, b"last");
    assert!(!reader.read(&mut out, None).unwrap());

    let mut writer = Writer::attach(&memory, Silent).unwrap();
    drop(reader);
    writer.write(&[0; 56], None).unwrap();
    let error = writer.write(&[0; 56], None).unwrap_err();
    assert!(matches!(error, Error::ReaderLeft), "{error:?}");
}

/// One that was succeeded, because it seemed dead, says nothing for its successor when it is dropped.
#[test]
fn a_predecessor_that_is_dropped_late_does_not_leave_for_its_successor() {
    let memory = ring(64);
    let mut reader = Reader::attach(&memory, Alarm).unwrap();
    let late = Writer::attach(&memory, Alarm).unwrap();
    let mut successor = Writer::take_over(&memory, Alarm).unwrap();
    drop(late);
    let soon = Some(Duration::from_millis(1));
    let mut out = Vec::new();
    let error = reader.read(&mut out, soon).unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error:?}");
    successor.write(b"one", None).unwrap();
    assert!(reader.read(&mut out, soon).unwrap());
    drop(successor);
    assert!(!reader.read(&mut out, soon).unwrap());

    let mut writer = Writer::attach(&memory, Alarm).unwrap();
    let next = Reader::take_over(&memory, Alarm).unwrap();
    drop(reader);
    writer.write(&[0; 56], None).unwrap();
    let error = writer.write(&[0; 56], soon).unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error:?}");
    drop(next);
    assert!(writer.reader_left().unwrap());
}

/// A bell that always sounds.
struct Alarm;

impl Bell for Alarm {
    fn ring(&self) -> Result<()> {
        Ok(())
    }

    fn wait(&self, _: Option<Duration>) -> Result<bool> {
        thread::yield_now();
        Ok(true)
    }
}

#[test]
fn the_time_is_over_when_it_is_over_whatever_is_heard() {
    let memory = ring(64);
    let mut reader = Reader::attach(&memory, Alarm).unwrap();
    let start = Instant::now();
    for milliseconds in [0, 20] {
        let timeout = Duration::from_millis(milliseconds);
        let error = reader.read(&mut Vec::new(), Some(timeout)).unwrap_err();
        assert!(matches!(error, Error::TimedOut), "{error:?}");
        assert!(start.elapsed() >= timeout);
    }
    // What no clock can hold is forever, and no error of arithmetic.
    let mut writer = Writer::attach(&memory, Alarm).unwrap();
    writer.write(b"x", Some(Duration::MAX)).unwrap();
    assert!(reader.read(&mut Vec::new(), Some(Duration::MAX)).unwrap());
}

/// A bell of one process: two threads, a channel each way.
mod channel {
    use super::{Bell, Duration, Result};
    use std::sync::mpsc::{channel, Receiver, Sender};

    pub(super) struct Channel(Sender<()>, Receiver<()>);

    impl Channel {
        pub(super) fn pair() -> (Self, Self) {
            let ((to_one, one), (to_other, other)) = (channel(), channel());
            (Self(to_other, one), Self(to_one, other))
        }
    }

    impl Bell for Channel {
        fn ring(&self) -> Result<()> {
            // The other end may have left.
            let _ = self.0.send(());
            Ok(())
        }

        fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
            assert_eq!(timeout, None);
            let _ = self.1.recv();
            Ok(true)
        }
    }
}

#[test]
fn threads_stream_records_and_lose_none() {
    let count = if cfg!(miri) { 60 } else { 100_000 };
    for capacity in [16, 72] {
        let memory = ring(capacity);
        let (writers, readers) = channel::Channel::pair();
        thread::scope(|scope| {
            let memory = &memory;
            scope.spawn(move || {
                let mut writer = Writer::attach(memory, writers).unwrap();
                for number in 0..count {
                    let record = record(number, writer.longest());
                    writer.write(&record, None).unwrap();
                }
            });
            let mut reader = Reader::attach(memory, readers).unwrap();
            let (mut out, mut number) = (Vec::new(), 0);
            // Where the writer has not come yet, it has not left either.
            while reader.read(&mut out, None).unwrap() {
                assert_eq!(out, record(number, capacity - 8));
                number += 1;
            }
            assert_eq!(number, count);
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri does not wait for files")]
fn a_bell_of_eventfds_is_heard_at_the_other_end_only() {
    let (one, other) = EventBell::pair().unwrap();
    one.ring().unwrap();
    assert!(!one.wait(Some(Duration::ZERO)).unwrap());
    assert!(other.wait(Some(Duration::ZERO)).unwrap());
    assert!(!other.wait(Some(Duration::from_millis(1))).unwrap());
}

/// The event loop that the documentation shows, at both ends.
#[test]
#[cfg_attr(miri, ignore = "Miri does not wait for files")]
fn an_event_loop_of_try_and_poll_misses_no_wake_up() {
    const RECORDS: usize = 2000;
    /// Sleeps until the descriptor is readable, as an event loop does.
    fn sleep(bell: &EventBell) {
        let limit = Some(Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        });
        let ready = poll(&mut [PollFd::new(bell, PollFlags::IN)], limit.as_ref()).unwrap();
        assert_eq!(ready, 1, "no wake-up in ten seconds");
        assert!(bell.wait(Some(Duration::ZERO)).unwrap());
    }
    let memory = ring(64);
    let (writers, readers) = EventBell::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Writer::attach(&memory, writers).unwrap();
            for number in 0..RECORDS {
                while !writer.try_write(&record(number, 56)).unwrap() {
                    sleep(writer.bell());
                }
            }
        });
        let mut reader = Reader::attach(&memory, readers).unwrap();
        let (mut out, mut number) = (Vec::new(), 0);
        while !reader.is_finished().unwrap() {
            if reader.try_read(&mut out).unwrap() {
                assert_eq!(out, record(number, 56));
                number += 1;
            } else {
                sleep(reader.bell());
            }
        }
        assert_eq!(number, RECORDS);
    });
}

/// Numbers that a hostile end, or a mistake, could leave anywhere in a ring of `capacity` bytes.
fn hostile(random: &mut fastrand::Rng, capacity: u64) -> u64 {
    match random.u8(..8) {
        0 => random.u64(..),
        1 => u64::MAX - random.u64(..64),
        2 => random.u64(..64),
        3 => capacity,
        4 => capacity.wrapping_sub(8),
        5 => (1 << 63) + random.u64(..3) * 8,
        6 => random.u64(..16) * 8,
        _ => capacity + random.u64(..4) * 8,
    }
}

/// Whoever writes what to a ring's memory, both ends answer, with records or errors.
#[test]
fn no_damage_leads_out_of_the_ring() {
    let mut random = fastrand::Rng::with_seed(4);
    let rounds = if cfg!(miri) { 60 } else { 20_000 };
    let (mut good, mut damaged) = (0, 0);
    for round in 0..rounds {
        let capacity = 8 * random.usize(1..20);
        let memory = ring(capacity);
        let mut strike = |memory: &Mapping| {
            let places = [0, 8, 16, 64, 72, 80, 128, 136, 144];
            let place = match random.usize(..places.len() + 3) {
                known if known < places.len() => places[known],
                _ => 192 + 8 * random.usize(..capacity / 8),
            };
            let number = hostile(&mut random, capacity as u64);
            memory.store(place, number, Ordering::Relaxed).unwrap();
        };
        // Before they attach, or only after.
        if round % 3 == 0 {
            strike(&memory);
        }
        let ends = [
            Writer::attach(&memory, Silent).map(|writer| (Some(writer), None)),
            Reader::attach(&memory, Silent).map(|reader| (None, Some(reader))),
        ];
        let mut out = Vec::new();
        for end in ends {
            let Ok((mut writer, mut reader)) = end else {
                damaged += 1;
                continue;
            };
            for number in 0..10 {
                if number % 3 == 2 {
                    strike(&memory);
                }
                let answer = match (&mut writer, &mut reader) {
                    (Some(writer), _) => writer.try_write(&record(number, writer.longest())),
                    (_, Some(reader)) => reader.try_read(&mut out),
                    _ => unreachable!("one of the two"),
                };
                match answer {
                    Ok(_) => good += 1,
                    Err(Error::RingDamaged { .. }) => damaged += 1,
                    Err(error) => panic!("{error:?}"),
                }
                assert!(out.len() <= capacity - 8);
            }
        }
    }
    assert!(
        good > rounds && damaged > rounds,
        "{good} good, {damaged} damaged"
    );
}

#[test]
fn what_an_attaching_end_finds_is_checked() {
    for (place, number, what) in [
        (8, 1, "the version is 1"),
        (16, 0, "the capacity is 0"),
        (16, 12, "the capacity is 12"),
        (16, 72, "the capacity is 72"),
        (16, u64::MAX - 7, "the capacity is 18446744073709551608"),
        (64, 72, "a position is 72"),
        (64, 4, "a position is 4"),
        (128, 8, "a position is 8"),
        (128, 1, "a position is 1"),
    ] {
        let memory = ring(64);
        memory.store(place, number, Ordering::Relaxed).unwrap();
        for error in [
            Writer::attach(&memory, Silent).err().unwrap(),
            Reader::attach(&memory, Silent).err().unwrap(),
        ] {
            let text = format!("the ring is damaged: {what}");
            // Each end names the other's number where the two do not go together.
            let either = ["the ring is damaged: a position is 0".to_owned(), text];
            assert!(either.contains(&error.to_string()), "{error} for {what}");
        }
    }
    // A length that leaves the ring, or what there is in it.
    for length in [9, 57, 1 << 40, u64::MAX] {
        let memory = ring(64);
        let mut writer = Writer::attach(&memory, Silent).unwrap();
        let mut reader = Reader::attach(&memory, Silent).unwrap();
        writer.try_write(b"8 bytes.").unwrap();
        memory.store(192, length, Ordering::Relaxed).unwrap();
        let error = reader.try_read(&mut Vec::new()).unwrap_err();
        let text = format!("the ring is damaged: a record's length is {length}");
        assert_eq!(error.to_string(), text);
    }
}
