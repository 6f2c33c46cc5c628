// SPDX-License-Identifier: MIT OR Apache-2.0

//! The end of a ring that records go in.

use super::layout::UNIT;
use super::protocol::{End, WRITING};
use crate::bell::Bell;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use std::borrow::Borrow;
use std::time::Duration;

/// The end of a ring that records go in. There is one; when it is dropped, the reader is told.
///
/// ```no_run
/// use chrmem::ring::{self, Writer};
/// use chrmem::Device;
///
/// let device = Device::open("/dev/chrmem0")?;
/// let memory = device.map(..)?;
/// ring::format(&memory)?;
/// let mut writer = Writer::attach(memory, device)?;
/// writer.write(b"a record", None)?;
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<M: Borrow<Mapping> = Mapping, B: Bell = Device> {
    end: End<M, B>,
}

impl<M: Borrow<Mapping>, B: Bell> Writer<M, B> {
    /// Attaches to a ring, to all of a mapping that [`format`](super::format()) made one of.
    ///
    /// # Errors
    ///
    /// [`Error::NoRing`] if the mapping is none, [`Error::RingTaken`] if there is a writer already,
    /// [`Error::RingDamaged`] if what is in the mapping cannot be, [`Error::ReadOnly`], [`Error::CanShrink`].
    ///
    /// ```
    /// use chrmem::ring::{self, Writer};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let writer = Writer::attach(&memory, bell)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn attach(memory: M, bell: B) -> Result<Self> {
        let end = End::attach(memory, bell, WRITING, false)?;
        Ok(Self { end })
    }

    /// Attaches also if there seems to be a writer: in the place of one that died. Two that write at the same
    /// time damage the ring.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), but for [`Error::RingTaken`].
    ///
    /// ```
    /// use chrmem::ring::{self, Writer};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// std::mem::forget(Writer::attach(&memory, bell)?);
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// let successor = Writer::take_over(&memory, bell)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn take_over(memory: M, bell: B) -> Result<Self> {
        let end = End::attach(memory, bell, WRITING, true)?;
        Ok(Self { end })
    }

    /// How many bytes the longest record has that fits, if the ring is empty.
    ///
    /// ```
    /// use chrmem::ring::{self, Writer};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// assert_eq!(Writer::attach(&memory, bell)?.longest(), 3896);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn longest(&self) -> usize {
        self.end.capacity() - UNIT
    }

    /// Writes a record, unless there is no room for it now: `false`. Then the [`bell`](Self::bell) rings once
    /// the reader has made room or left, so that an event loop can sleep until then.
    ///
    /// # Errors
    ///
    /// [`Error::RecordTooLong`] if the record does not even fit into an empty ring, [`Error::RingDamaged`] if
    /// the reader broke the protocol; nothing is written then. Any other error comes from the bell, when
    /// the reader waits and has to be woken: the record **has been written** then, and must not be written again.
    ///
    /// ```
    /// use chrmem::ring::{self, Writer};
    ///
    /// let memory = chrmem::Mapping::anonymous(256)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let mut writer = Writer::attach(&memory, bell)?;
    /// assert!(writer.try_write(&[0; 50])?);
    /// assert!(!writer.try_write(&[0; 50])?);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn try_write(&mut self, record: &[u8]) -> Result<bool> {
        self.end.try_write(record)
    }

    /// Writes a record. Where there is no room, waits until the reader has made some, for as long as
    /// `timeout` says, if it says.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if that time is over, [`Error::ReaderLeft`] if there is no room and the reader
    /// has left, [`Error::RingAbandoned`] if it has died; nothing is written then. Else as [`try_write`](Self::try_write). An error of the bell while
    /// waiting for room is returned only if there is still none: nothing is written then either.
    ///
    /// ```
    /// use chrmem::ring::{self, Writer};
    /// use std::time::Duration;
    ///
    /// let memory = chrmem::Mapping::anonymous(256)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let mut writer = Writer::attach(&memory, bell)?;
    /// writer.write(&[0; 50], None)?;
    /// let error = writer.write(&[0; 50], Some(Duration::from_millis(1))).unwrap_err();
    /// assert!(matches!(error, chrmem::Error::TimedOut));
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn write(&mut self, record: &[u8], timeout: Option<Duration>) -> Result<()> {
        if self.end.wait_to(timeout, |end| end.try_write(record))? {
            Ok(())
        } else {
            Err(Error::ReaderLeft)
        }
    }

    /// Whether the reader has left. If not, the [`bell`](Self::bell) rings when it does.
    ///
    /// # Errors
    ///
    /// [`Error::RingAbandoned`] if the reader has died.
    ///
    /// ```
    /// use chrmem::ring::{self, Reader, Writer};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (writers, readers) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let writer = Writer::attach(&memory, writers)?;
    /// drop(Reader::attach(&memory, readers)?);
    /// assert!(writer.reader_left()?);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn reader_left(&self) -> Result<bool> {
        self.end.other_left()
    }

    /// What wakes the reader. Its file descriptor, in an event loop, is readable when the reader has done what
    /// the last [`try_write`](Self::try_write) waits for; [`Reader::bell`](super::Reader::bell) shows such a
    /// loop.
    ///
    /// ```
    /// use chrmem::ring::{self, Writer};
    /// use chrmem::Bell;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (bell, readers) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let writer = Writer::attach(&memory, bell)?;
    /// writer.bell().ring()?;
    /// assert!(readers.wait(None)?);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn bell(&self) -> &B {
        self.end.bell()
    }
}
