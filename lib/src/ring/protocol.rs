// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the two ends of a ring do to its memory, whatever that is made of.

use super::layout::{
    CAPACITY, DATA, LEFT, MAGIC, MAGIC_NUMBER, PRESENT, READ, READER, READER_LEASE, READER_WAITS,
    STATE, THIS_VERSION, UNIT, VERSION, WRITER, WRITER_LEASE, WRITER_WAITS, WRITTEN,
};
use super::lease::Lease;
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use std::borrow::Borrow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Memory that both ends have. Places are in bytes.
pub(super) trait Memory {
    /// How many bytes there are.
    fn len(&self) -> usize;
    /// Loads a number: what was stored before it is seen after this.
    fn load(&self, at: usize) -> Result<u64>;
    /// Stores a number, after everything before this.
    fn store(&self, at: usize, number: u64) -> Result<()>;
    /// Where in its file it starts.
    fn offset(&self) -> u64;
    /// Stores a number if `current` is there: what was there.
    fn replace(&self, at: usize, current: u64, number: u64) -> Result<u64>;
    /// Both at once.
    fn swap(&self, at: usize, number: u64) -> Result<u64>;
    /// Copies bytes out.
    fn copy_to(&self, at: usize, target: &mut [u8]) -> Result<()>;
    /// Copies bytes in.
    fn copy_from(&self, at: usize, source: &[u8]) -> Result<()>;
}

impl<M: Borrow<Mapping>> Memory for M {
    fn len(&self) -> usize {
        self.borrow().len()
    }

    fn load(&self, at: usize) -> Result<u64> {
        self.borrow().load(at, Ordering::Acquire)
    }

    fn store(&self, at: usize, number: u64) -> Result<()> {
        self.borrow().store(at, number, Ordering::Release)
    }

    fn offset(&self) -> u64 {
        self.borrow().offset()
    }

    fn replace(&self, at: usize, current: u64, number: u64) -> Result<u64> {
        let word = self.borrow().atomic::<u64>(at)?;
        let found = word.compare_exchange(current, number, Ordering::AcqRel, Ordering::Acquire);
        Ok(found.unwrap_or_else(|found| found))
    }

    fn swap(&self, at: usize, number: u64) -> Result<u64> {
        let word = self.borrow().atomic::<u64>(at)?;
        Ok(word.swap(number, Ordering::AcqRel))
    }

    fn copy_to(&self, at: usize, target: &mut [u8]) -> Result<()> {
        self.borrow().copy_to(at, target)
    }

    fn copy_from(&self, at: usize, source: &[u8]) -> Result<()> {
        self.borrow().copy_from(at, source)
    }
}

/// One end of a ring.
#[derive(Debug)]
pub(super) struct End<M: Memory, B: Bell> {
    memory: M,
    bell: B,
    side: Side,
    /// Bytes of data, as it was when this end attached: a multiple of [`UNIT`], and inside of the memory.
    capacity: usize,
    /// This end's number. The memory has a copy, which nobody reads but the other end and a successor.
    own: u64,
    /// The other end's number, as it was last seen, and found good.
    other: u64,
    /// What this end has put where its state is.
    state: u64,
    /// What shows the other end that this one lives.
    lease: Option<Lease>,
}

/// Where in the memory an end finds what belongs to it and to the other one.
#[derive(Debug)]
pub(super) struct Side {
    /// The ends, as errors call them.
    name: &'static str,
    others_name: &'static str,
    own: usize,
    other: usize,
    /// Whether this end is there, and the other one.
    state: usize,
    others_state: usize,
    /// What their locks are good for.
    lease: [usize; 3],
    others_lease: [usize; 3],
    /// Whether this end waits, and the other one.
    waits: usize,
    other_waits: usize,
}

pub(super) const WRITING: Side = Side {
    name: "writer",
    others_name: "reader",
    own: WRITTEN,
    other: READ,
    state: WRITER,
    others_state: READER,
    lease: WRITER_LEASE,
    others_lease: READER_LEASE,
    waits: WRITER_WAITS,
    other_waits: READER_WAITS,
};

pub(super) const READING: Side = Side {
    name: "reader",
    others_name: "writer",
    own: READ,
    other: WRITTEN,
    state: READER,
    others_state: WRITER,
    lease: READER_LEASE,
    others_lease: WRITER_LEASE,
    waits: READER_WAITS,
    other_waits: WRITER_WAITS,
};

impl<M: Memory, B: Bell> End<M, B> {
    /// Attaches to a ring, which nobody else may have done at this end unless `anyway`.
    pub(super) fn attach(memory: M, bell: B, side: Side, anyway: bool) -> Result<Self> {
        if memory.len() < DATA || memory.load(MAGIC)? != MAGIC_NUMBER {
            return Err(Error::NoRing);
        }
        let version = memory.load(VERSION)?;
        if version != THIS_VERSION {
            return Err(damaged("the version", version));
        }
        let number = memory.load(CAPACITY)?;
        let room = memory.len() - DATA;
        let capacity = match usize::try_from(number) {
            Ok(capacity) if (UNIT..=room).contains(&capacity) && capacity % UNIT == 0 => capacity,
            _ => return Err(damaged("the capacity", number)),
        };
        // Before this end is seen to be there: until then nobody asks for the lock.
        let lease = (bell.file()).and_then(|file| Lease::take(file, lock(&memory, side.state)));
        let state = claim(&memory, &side, anyway)?;
        if let Some(lease) = &lease {
            let [state_then, device, inode] = side.lease;
            memory.store(device, lease.inode[0])?;
            memory.store(inode, lease.inode[1])?;
            // Makes the two valid.
            memory.store(state_then, state)?;
        }
        let mut end = Self {
            own: memory.load(side.own)?,
            other: 0,
            memory,
            bell,
            side,
            capacity,
            state,
            lease,
        };
        if end.own % UNIT as u64 != 0 {
            return Err(damaged("a position", end.own));
        }
        end.look()?;
        Ok(end)
    }

    /// Bytes of data.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// What wakes the other end.
    pub(super) fn bell(&self) -> &B {
        &self.bell
    }

    /// Looks at the other end's number, which is not to be believed.
    fn look(&mut self) -> Result<()> {
        let other = self.memory.load(self.side.other)?;
        let [written, read] = if self.side.own == WRITTEN {
            [self.own, other]
        } else {
            [other, self.own]
        };
        // As numbers that go round: both are multiples of `UNIT`, and so is their difference.
        if other % UNIT as u64 != 0 || written.wrapping_sub(read) > self.capacity as u64 {
            return Err(damaged("a position", other));
        }
        self.other = other;
        Ok(())
    }

    /// Bytes that have been written and not read, as far as is known: never more than the capacity.
    fn filled(&self) -> usize {
        let difference = if self.side.own == WRITTEN {
            self.own.wrapping_sub(self.other)
        } else {
            self.other.wrapping_sub(self.own)
        };
        // CAST: `look` found it to be no more than the capacity, and this end goes no further.
        difference as usize
    }

    /// Writes a record if there is room for it. Otherwise the bell will ring once there is some.
    pub(super) fn try_write(&mut self, record: &[u8]) -> Result<bool> {
        self.try_twice(|end| end.write_if_room(record))
    }

    /// Takes a record, in place of what is in `record`, if there is one. Otherwise the bell will ring once
    /// there is one.
    pub(super) fn try_read(&mut self, record: &mut Vec<u8>) -> Result<bool> {
        self.try_twice(|end| end.read_if_any(record))
    }

    /// Tries, and once more after asking the other end to ring: between a failure and that flag, the other end
    /// may have done what this end needs, without ringing.
    fn try_twice(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<bool>) -> Result<bool> {
        if attempt(self)? {
            return Ok(true);
        }
        self.ask_to_ring()?;
        attempt(self)
    }

    /// Asks the other end to ring after whatever it does next. What it did before is seen from here on.
    fn ask_to_ring(&self) -> Result<()> {
        self.memory.swap(self.side.waits, 1).map(drop)
    }

    fn write_if_room(&mut self, record: &[u8]) -> Result<bool> {
        let needed = self.room(record.len()).ok_or(Error::RecordTooLong {
            length: record.len(),
            longest: self.capacity - UNIT,
        })?;
        if needed > self.capacity - self.filled() {
            self.look()?;
            if needed > self.capacity - self.filled() {
                return Ok(false);
            }
        }
        self.put(0, &(record.len() as u64).to_ne_bytes())?;
        self.put(UNIT, record)?;
        self.advance(needed)?;
        Ok(true)
    }

    fn read_if_any(&mut self, record: &mut Vec<u8>) -> Result<bool> {
        if self.filled() == 0 {
            self.look()?;
            if self.filled() == 0 {
                return Ok(false);
            }
        }
        let mut number = [0; UNIT];
        self.get(0, &mut number)?;
        let number = u64::from_ne_bytes(number);
        let length = usize::try_from(number).ok();
        let (length, needed) = length
            .and_then(|length| Some((length, self.room(length)?)))
            .filter(|(_, needed)| *needed <= self.filled())
            .ok_or_else(|| damaged("a record's length", number))?;
        record.clear();
        record.resize(length, 0);
        self.get(UNIT, record)?;
        self.advance(needed)?;
        Ok(true)
    }

    /// Bytes that a record of `length` bytes takes, unless they are more than there ever are.
    fn room(&self, length: usize) -> Option<usize> {
        let needed = length.checked_next_multiple_of(UNIT)?.checked_add(UNIT)?;
        (needed <= self.capacity).then_some(needed)
    }

    /// The places of `length` bytes that are `ahead` bytes behind this end's number: up to the end of the
    /// data, and on from its start. Neither is more than the capacity.
    fn places(&self, ahead: usize, length: usize) -> (usize, usize) {
        let capacity = self.capacity as u64;
        // CAST: less than the capacity.
        let at = (self.own.wrapping_add(ahead as u64) % capacity) as usize;
        (DATA + at, length.min(self.capacity - at))
    }

    /// Copies bytes of a record in.
    fn put(&self, ahead: usize, source: &[u8]) -> Result<()> {
        let (at, first) = self.places(ahead, source.len());
        let (first, rest) = source.split_at(first);
        self.memory.copy_from(at, first)?;
        self.memory.copy_from(DATA, rest)
    }

    /// Copies bytes of a record out.
    fn get(&self, ahead: usize, target: &mut [u8]) -> Result<()> {
        let (at, first) = self.places(ahead, target.len());
        let (first, rest) = target.split_at_mut(first);
        self.memory.copy_to(at, first)?;
        self.memory.copy_to(DATA, rest)
    }

    /// Moves this end's number, and wakes the other end if it waits for that.
    fn advance(&mut self, bytes: usize) -> Result<()> {
        self.own = self.own.wrapping_add(bytes as u64);
        self.memory.store(self.side.own, self.own)?;
        self.wake()
    }

    /// Wakes the other end if it waits.
    fn wake(&self) -> Result<()> {
        if self.memory.swap(self.side.other_waits, 0)? != 0 {
            self.bell.ring()?;
        }
        Ok(())
    }

    /// Whether the other end was there and has left.
    fn is_alone(&self) -> Result<bool> {
        Ok(self.memory.load(self.side.others_state)? & STATE == LEFT)
    }

    /// Whether the other end was there and has died, as far as that can be told: it is still there by its state,
    /// but the lock that it took when it attached is free.
    fn other_died(&self) -> Result<bool> {
        let Some(lease) = &self.lease else {
            return Ok(false);
        };
        let state = self.memory.load(self.side.others_state)?;
        let [state_then, device, inode] = self.side.others_lease;
        // A lock of a predecessor, or of another inode, says nothing.
        if state & STATE != PRESENT
            || self.memory.load(state_then)? != state
            || [self.memory.load(device)?, self.memory.load(inode)?] != lease.inode
            || lease.is_held(lock(&self.memory, self.side.others_state))
        {
            return Ok(false);
        }
        // A successor could have come since.
        Ok(self.memory.load(self.side.others_state)? == state)
    }

    fn died(&self) -> Error {
        let end = self.side.others_name;
        Error::RingAbandoned { end }
    }

    /// Whether the other end has left. Otherwise the bell will ring when it does.
    pub(super) fn other_left(&self) -> Result<bool> {
        self.ask_to_ring()?;
        if self.other_died()? {
            return Err(self.died());
        }
        self.is_alone()
    }

    /// Whether the other end has left, and nothing that it wrote is unread. Otherwise the bell will ring when
    /// that changes.
    pub(super) fn is_finished(&mut self) -> Result<bool> {
        // In this order: what was written before the writer left or died is seen by the second.
        let left = self.other_left();
        self.look()?;
        match self.filled() {
            0 => left,
            _ => Ok(false),
        }
    }

    /// Tries until it works, and waits for the other end in between; `attempt` is one of those that ask to be
    /// woken. `false` if the other end has left, so that it will never work.
    pub(super) fn wait_to(
        &mut self,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<bool> {
        let mut deadline = None;
        loop {
            if attempt(self)? {
                return Ok(true);
            }
            let died = self.other_died()?;
            if died || self.is_alone()? {
                // What it did before is seen now.
                return match attempt(self)? {
                    false if died => Err(self.died()),
                    done => Ok(done),
                };
            }
            // A deadline that no clock can hold is never reached.
            let deadline = *deadline
                .get_or_insert_with(|| timeout.and_then(|it| Instant::now().checked_add(it)));
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(Error::TimedOut);
            }
            // A wake-up only means to look again. The clock decides when to give up: the other end could ring
            // forever.
            let moment = match &self.lease {
                // A dead end does not ring.
                Some(_) => Some(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))),
                None => left,
            };
            if let Err(error) = self.bell.wait(moment) {
                // What the other end did before the bell failed is in the memory all the same.
                return if attempt(self)? { Ok(true) } else { Err(error) };
            }
        }
    }
}

/// An end that is dropped says that it has left.
impl<M: Memory, B: Bell> Drop for End<M, B> {
    fn drop(&mut self) {
        // Where this fails, nobody is left who could be told. A successor's state is not this end's to change.
        let left = self.state - PRESENT + LEFT;
        let found = self.memory.replace(self.side.state, self.state, left);
        if found.is_ok_and(|found| found == self.state) {
            let _ = self.wake();
        }
    }
}

/// How often an end that waits looks whether the other one lives.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The byte of the file that is locked by the end whose state is at `state`. Nothing is stored there: any byte
/// would do that rings in one file do not share.
fn lock<M: Memory>(memory: &M, state: usize) -> u64 {
    memory.offset().saturating_add(state as u64)
}

/// Says that an end is there, which nobody else may be unless `anyway`: what is at its state now.
fn claim<M: Memory>(memory: &M, side: &Side, anyway: bool) -> Result<u64> {
    let mut found = memory.load(side.state)?;
    // Others that attach could come between. What comes between that often is no such.
    for _ in 0..1000 {
        if found & STATE == PRESENT && !anyway {
            return Err(Error::RingTaken { end: side.name });
        }
        let state = (found | STATE).wrapping_add(1) | PRESENT;
        match memory.replace(side.state, found, state)? {
            before if before == found => return Ok(state),
            now => found = now,
        }
    }
    Err(damaged("a state", found))
}

fn damaged(what: &'static str, number: u64) -> Error {
    Error::RingDamaged { what, number }
}
