// SPDX-License-Identifier: MIT OR Apache-2.0

//! A ring in a mapping: one process writes records, another reads them, with no copy in the kernel.
//!
//! There is one [`Writer`] and one [`Reader`], in two processes or one, each with a mapping of the same memory
//! and a [`Bell`](crate::Bell) that wakes the other: a [`Device`](crate::Device), or an
//! [`EventBell`](crate::EventBell) where there is none. Records have any length up to
//! [`Writer::longest`], come out in order, and none is lost: who finds the ring full waits, or is told.
//!
//! The memory must be RAM that cannot shrink: a device's window, a memfd sealed against shrinking,
//! [`Mapping::anonymous`]. The window must be a `cached` one: stores to the others do not arrive in their order. Not a `physical`
//! one: its memory may not know atomic access.
//!
//! ```
//! use chrmem::ring::{self, Reader, Writer};
//! use chrmem::{EventBell, Mapping};
//!
//! // One process for an example; two would each map the same device.
//! let memory = Mapping::anonymous(4096)?;
//! let (writers, readers) = EventBell::pair()?;
//! ring::format(&memory)?;
//! std::thread::scope(|scope| {
//!     scope.spawn(|| -> chrmem::Result<()> {
//!         let mut writer = Writer::attach(&memory, writers)?;
//!         writer.write(b"one", None)?;
//!         writer.write(b"another", None)
//!     });
//!     let mut reader = Reader::attach(&memory, readers)?;
//!     let mut record = Vec::new();
//!     assert!(reader.read(&mut record, None)?);
//!     assert_eq!(record, b"one");
//!     assert!(reader.read(&mut record, None)?);
//!     assert_eq!(record, b"another");
//!     // The writer has left, and there is nothing more.
//!     assert!(!reader.read(&mut record, None)?);
//!     Ok::<(), chrmem::Error>(())
//! })?;
//! # Ok::<(), chrmem::Error>(())
//! ```
//!
//! # Layout
//!
//! All numbers are 64-bit integers of the processor's byte order, at a multiple of 8.
//!
//! | offset | is | written by |
//! |---|---|---|
//! | 0 | the bytes `chrmring` | [`format()`] |
//! | 8 | version: 2 | [`format()`] |
//! | 16 | capacity: bytes of data, a multiple of 8 | [`format()`] |
//! | 64 | written: how many bytes of data there ever were | the writer |
//! | 72 | writer, lowest two bits: 0 not yet there, 1 there, 2 has left; above: how many there were | the writer |
//! | 80 | 1 if the reader waits for its bell | the reader sets it, the writer takes it |
//! | 88 | what was at 72 when the writer took its lock, then the device and inode number of the locked file | the writer |
//! | 128 | read: how many bytes of data were ever taken | the reader |
//! | 136 | reader, as at 72 | the reader |
//! | 144 | 1 if the writer waits for its bell | the writer sets it, the reader takes it |
//! | 152 | as at 88, of the reader | the reader |
//! | 192 | data | the writer |
//!
//! Byte number `n` of the data lies at 192 + `n` modulo capacity. A record is its length as one number,
//! its bytes, and as many more as make a multiple of 8.
//!
//! # Memory order, and trust
//!
//! The writer stores a record, then `written` (release); the reader loads `written` (acquire), then the record;
//! and the other way round for `read`. An end that finds nothing to do sets its flag and looks again before it
//! waits, or returns `false` to a caller who may wait. An end that has stored its number takes the other's flag,
//! and rings if it was set. Both are atomic swaps, so that one of the two sees what the other did.
//!
//! Neither end believes the other: each keeps its own number for itself and checks the other's. Whatever is
//! stored in the memory, by mistake or in malice, is answered with [`Error::RingDamaged`] or with wrong
//! records, never with an access out of bounds, a panic or an endless loop.
//!
//! # Death
//!
//! A reader that dies before it has taken a record leaves it to its successor; a record that a dying
//! writer did not finish was never there. [`Reader::take_over`] and [`Writer::take_over`] attach in the place
//! of a dead one.
//!
//! An end that waits for one that was killed is told: [`Error::RingAbandoned`], within a second. Each end locks a
//! byte of the [bell's file](crate::Bell::file) when it attaches (an open file description lock, at the file's
//! offset of its state), and the kernel releases that however the process ends. Unlike a process's number, such a
//! lock means the same in every PID namespace; unlike a heartbeat, it is not lost by an end that is only slow.
//! Both ends must lock the same inode: the bell is a device that both have opened by one node, or an
//! [`EventBell`](crate::EventBell) that was given a file. Where they do not, which is seen, or if `/proc` is
//! missing, or if a child made by `fork` keeps the lock, a death is not noticed; no living end is ever taken for a
//! dead one.
//!
//! Nobody rings for the dead. An event loop asks [`Reader::is_finished`] or [`Writer::reader_left`] from time to
//! time.

mod layout;
mod lease;
mod protocol;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use crate::error::{Error, Result};
use crate::mapping::Mapping;
use protocol::Memory;

/// Makes a ring of a mapping: all of it. What was in there is gone.
///
/// To be done once, before anyone attaches.
///
/// # Errors
///
/// [`Error::RingTooSmall`] if there is no room for a record, [`Error::Misaligned`] if the mapping does not start at
/// a multiple of 8, [`Error::ReadOnly`], [`Error::CanShrink`].
///
/// ```
/// let memory = chrmem::Mapping::anonymous(4096)?;
/// chrmem::ring::format(&memory)?;
/// assert_eq!(memory.read::<[u8; 8]>(0)?, *b"chrmring");
/// # Ok::<(), chrmem::Error>(())
/// ```
pub fn format(memory: &Mapping) -> Result<()> {
    let size = memory.len();
    let room = size.saturating_sub(layout::DATA);
    let capacity = room - room % layout::UNIT;
    if capacity < layout::UNIT {
        return Err(Error::RingTooSmall {
            size,
            least: layout::DATA + layout::UNIT,
        });
    }
    // Until everything else is there, it is no ring.
    Memory::store(&memory, layout::MAGIC, 0)?;
    for word in layout::NUMBERS {
        Memory::store(&memory, word, 0)?;
    }
    Memory::store(&memory, layout::VERSION, layout::THIS_VERSION)?;
    Memory::store(&memory, layout::CAPACITY, capacity as u64)?;
    Memory::store(&memory, layout::MAGIC, layout::MAGIC_NUMBER)
}
