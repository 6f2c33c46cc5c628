// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ring's memory order: every order in which two threads can take their turns, and every value that
//! the memory model lets them see, by loom. It finds data races, lost wake-ups (as a deadlock) and lost
//! records.

use super::layout::{
    CAPACITY, DATA, MAGIC, MAGIC_NUMBER, READ, READER, READER_WAITS, THIS_VERSION, VERSION, WRITER,
    WRITER_WAITS, WRITTEN,
};
use super::protocol::{End, Memory, READING, WRITING};
use crate::bell::Bell;
use crate::error::Result;
use loom::cell::Cell;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// The smallest memory that two ends can use: numbers that loom watches, and bytes of data that it watches
/// for accesses at the same time.
struct Watched {
    numbers: [(usize, AtomicU64); 6],
    data: Vec<Cell<u8>>,
}

impl Watched {
    fn new(capacity: usize) -> Arc<Self> {
        let numbers = [WRITTEN, WRITER, READER_WAITS, READ, READER, WRITER_WAITS];
        Arc::new(Self {
            numbers: numbers.map(|at| (at, AtomicU64::new(0))),
            data: (0..capacity).map(|_| Cell::new(0)).collect(),
        })
    }

    fn number(&self, at: usize) -> &AtomicU64 {
        let found = self.numbers.iter().find(|(place, _)| *place == at);
        &found.expect("a number of the ring").1
    }
}

impl Memory for Arc<Watched> {
    fn len(&self) -> usize {
        DATA + self.data.len()
    }

    fn load(&self, at: usize) -> Result<u64> {
        Ok(match at {
            // What never changes does not have to be watched.
            MAGIC => MAGIC_NUMBER,
            VERSION => THIS_VERSION,
            CAPACITY => self.data.len() as u64,
            at => self.number(at).load(Ordering::Acquire),
        })
    }

    fn store(&self, at: usize, number: u64) -> Result<()> {
        self.number(at).store(number, Ordering::Release);
        Ok(())
    }

    fn offset(&self) -> u64 {
        0
    }

    fn replace(&self, at: usize, current: u64, number: u64) -> Result<u64> {
        let word = self.number(at);
        let found = word.compare_exchange(current, number, Ordering::AcqRel, Ordering::Acquire);
        Ok(found.unwrap_or_else(|found| found))
    }

    fn swap(&self, at: usize, number: u64) -> Result<u64> {
        Ok(self.number(at).swap(number, Ordering::AcqRel))
    }

    fn copy_to(&self, at: usize, target: &mut [u8]) -> Result<()> {
        for (byte, cell) in target.iter_mut().zip(&self.data[at - DATA..]) {
            *byte = cell.get();
        }
        Ok(())
    }

    fn copy_from(&self, at: usize, source: &[u8]) -> Result<()> {
        for (byte, cell) in source.iter().zip(&self.data[at - DATA..]) {
            cell.set(*byte);
        }
        Ok(())
    }
}

/// Two bells that hear each other: what one rings, by its place, the other hears.
#[derive(Clone)]
struct Watchman {
    rung: Arc<[(Mutex<bool>, Condvar); 2]>,
    place: usize,
}

impl Watchman {
    fn pair() -> [Self; 2] {
        let rung = Arc::new([(); 2].map(|()| (Mutex::new(false), Condvar::new())));
        [0, 1].map(|place| Self {
            rung: rung.clone(),
            place,
        })
    }
}

impl Bell for Watchman {
    fn ring(&self) -> Result<()> {
        let (rung, condition) = &self.rung[1 - self.place];
        *rung.lock().expect("no panic") = true;
        condition.notify_one();
        Ok(())
    }

    fn wait(&self, _: Option<Duration>) -> Result<bool> {
        let (rung, condition) = &self.rung[self.place];
        let mut heard = rung.lock().expect("no panic");
        while !*heard {
            heard = condition.wait(heard).expect("no panic");
        }
        *heard = false;
        Ok(true)
    }
}

/// Sends records of these lengths through a ring of this capacity, and finds them all at the other end.
fn stream(capacity: usize, lengths: &'static [usize]) {
    let mut model = loom::model::Builder::new();
    // Forced changes of thread: two find what was broken on purpose, and three took ten times as long.
    model.preemption_bound = Some(2);
    model.check(move || {
        let memory = Watched::new(capacity);
        let [writers, readers] = Watchman::pair();
        let record = |number: usize| vec![number as u8 + 1; lengths[number]];
        let others = memory.clone();
        let writer = loom::thread::spawn(move || {
            let mut end = End::attach(others, writers, WRITING, false).expect("a ring");
            for number in 0..lengths.len() {
                let record = record(number);
                assert!(end
                    .wait_to(None, |end| end.try_write(&record))
                    .expect("a good ring"));
            }
        });
        let mut end = End::attach(memory, readers, READING, false).expect("a ring");
        let mut found = Vec::new();
        for number in 0..lengths.len() {
            assert!(end
                .wait_to(None, |end| end.try_read(&mut found))
                .expect("a good ring"));
            assert_eq!(found, record(number));
        }
        // The writer has left then, and that is heard as well.
        assert!(!end
            .wait_to(None, |end| end.try_read(&mut found))
            .expect("a good ring"));
        writer.join().expect("no panic");
    });
}

/// The documented event loop: try, and where there is nothing to do, sleep until the bell goes.
#[test]
fn an_end_that_tries_and_sleeps_misses_no_wake_up() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let memory = Watched::new(16);
        let [writers, readers] = Watchman::pair();
        let others = memory.clone();
        let writer = loom::thread::spawn(move || {
            let mut end = End::attach(others, writers, WRITING, false).expect("a ring");
            for number in [1, 2] {
                while !end.try_write(&[number; 2]).expect("a good ring") {
                    end.bell().wait(None).expect("a bell");
                }
            }
        });
        let mut end = End::attach(memory, readers, READING, false).expect("a ring");
        let mut found = Vec::new();
        for number in [1, 2] {
            while !end.try_read(&mut found).expect("a good ring") {
                end.bell().wait(None).expect("a bell");
            }
            assert_eq!(found, [number; 2]);
        }
        while !end.is_finished().expect("a good ring") {
            end.bell().wait(None).expect("a bell");
        }
        writer.join().expect("no panic");
    });
}

#[test]
fn a_record_comes_through() {
    stream(16, &[1]);
}

#[test]
fn the_writer_waits_for_room() {
    stream(16, &[1, 2]);
}

#[test]
fn records_without_bytes_come_through_and_round() {
    stream(16, &[0, 0, 0]);
}

#[test]
fn records_go_round_the_end_of_the_data() {
    stream(24, &[1, 9]);
}
