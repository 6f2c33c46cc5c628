// SPDX-License-Identifier: MIT OR Apache-2.0

//! The end of a ring that records come out of.

use super::protocol::{End, READING};
use crate::bell::Bell;
use crate::device::Device;
use crate::error::Result;
use crate::mapping::Mapping;
use std::borrow::Borrow;
use std::time::Duration;

/// The end of a ring that records come out of. There is one; when it is dropped, the writer is told.
///
/// It marks in the memory what it has read, so that its mapping has to be writable too.
///
/// ```no_run
/// use chrmem::ring::Reader;
/// use chrmem::Device;
///
/// let device = Device::open("/dev/chrmem0")?;
/// let mut reader = Reader::attach(device.map(..)?, device)?;
/// let mut record = Vec::new();
/// while reader.read(&mut record, None)? {
///     println!("{record:?}");
/// }
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader<M: Borrow<Mapping> = Mapping, B: Bell = Device> {
    end: End<M, B>,
}

impl<M: Borrow<Mapping>, B: Bell> Reader<M, B> {
    /// Attaches to a ring, to all of a mapping that [`format`](super::format()) made one of.
    ///
    /// # Errors
    ///
    /// [`Error::NoRing`](crate::Error::NoRing) if the mapping is none,
    /// [`RingTaken`](crate::Error::RingTaken) if there is a reader already,
    /// [`RingDamaged`](crate::Error::RingDamaged) if what is in the mapping cannot be,
    /// [`ReadOnly`](crate::Error::ReadOnly), [`CanShrink`](crate::Error::CanShrink).
    ///
    /// ```
    /// use chrmem::ring::{self, Reader};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let reader = Reader::attach(&memory, bell)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn attach(memory: M, bell: B) -> Result<Self> {
        let end = End::attach(memory, bell, READING, false)?;
        Ok(Self { end })
    }

    /// Attaches also if there seems to be a reader: in the place of one that died, from the first record on
    /// that it did not take. Two that read at the same time damage the ring.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), but for [`RingTaken`](crate::Error::RingTaken).
    ///
    /// ```
    /// use chrmem::ring::{self, Reader};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// std::mem::forget(Reader::attach(&memory, bell)?);
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// let successor = Reader::take_over(&memory, bell)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn take_over(memory: M, bell: B) -> Result<Self> {
        let end = End::attach(memory, bell, READING, true)?;
        Ok(Self { end })
    }

    /// Takes the next record, in place of what is in `record`; `false` if there is none now. Then the
    /// [`bell`](Self::bell) rings once the writer has written one or left, so that an event loop can sleep until
    /// then.
    ///
    /// # Errors
    ///
    /// [`RingDamaged`](crate::Error::RingDamaged) if the writer broke the protocol. Any other error comes from the
    /// bell, when the writer waits for room and has to be woken: the record **has been taken** then, and is in
    /// `record`.
    ///
    /// ```
    /// use chrmem::ring::{self, Reader, Writer};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (writers, readers) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let mut reader = Reader::attach(&memory, readers)?;
    /// let mut record = Vec::new();
    /// assert!(!reader.try_read(&mut record)?);
    /// Writer::attach(&memory, writers)?.write(b"a record", None)?;
    /// assert!(reader.try_read(&mut record)?);
    /// assert_eq!(record, b"a record");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn try_read(&mut self, record: &mut Vec<u8>) -> Result<bool> {
        self.end.try_read(record)
    }

    /// Takes the next record, in place of what is in `record`. Where there is none, waits until there is,
    /// for as long as `timeout` says, if it says; `false` if the writer has left, and there is nothing
    /// more.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](crate::Error::TimedOut) if that time is over,
    /// [`RingAbandoned`](crate::Error::RingAbandoned) if the writer has died and there is nothing more. Else as [`try_read`](Self::try_read), and what
    /// the bell says.
    ///
    /// ```
    /// use chrmem::ring::{self, Reader};
    /// use std::time::Duration;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (bell, _) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let mut reader = Reader::attach(&memory, bell)?;
    /// let error = reader.read(&mut Vec::new(), Some(Duration::from_millis(1))).unwrap_err();
    /// assert!(matches!(error, chrmem::Error::TimedOut));
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn read(&mut self, record: &mut Vec<u8>, timeout: Option<Duration>) -> Result<bool> {
        self.end.wait_to(timeout, |end| end.try_read(record))
    }

    /// Whether the writer has left and every record has been taken. If not, the [`bell`](Self::bell) rings
    /// when that may have changed.
    ///
    /// # Errors
    ///
    /// [`RingAbandoned`](crate::Error::RingAbandoned) if the writer has died and every record has been taken,
    /// [`RingDamaged`](crate::Error::RingDamaged) if the writer broke the protocol.
    ///
    /// ```
    /// use chrmem::ring::{self, Reader, Writer};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let (writers, readers) = chrmem::EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let mut reader = Reader::attach(&memory, readers)?;
    /// assert!(!reader.is_finished()?);
    /// Writer::attach(&memory, writers)?.write(b"a record", None)?;
    /// assert!(!reader.is_finished()?);
    /// assert!(reader.try_read(&mut Vec::new())?);
    /// assert!(reader.is_finished()?);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn is_finished(&mut self) -> Result<bool> {
        self.end.is_finished()
    }

    /// What wakes the writer. Its file descriptor, in an event loop, is readable when the writer has done what
    /// the last [`try_read`](Self::try_read) or [`is_finished`](Self::is_finished) waits for. A wake-up means to
    /// look again: take it from the bell, then read until there is nothing more.
    ///
    /// ```
    /// use chrmem::ring::{self, Reader, Writer};
    /// use chrmem::{Bell, EventBell, Mapping};
    /// use rustix::event::{poll, PollFd, PollFlags};
    /// use std::time::Duration;
    ///
    /// let memory = Mapping::anonymous(4096)?;
    /// let (writers, bell) = EventBell::pair()?;
    /// ring::format(&memory)?;
    /// let mut reader = Reader::attach(&memory, bell)?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| Writer::attach(&memory, writers)?.write(b"a record", None));
    ///     let mut record = Vec::new();
    ///     while !reader.is_finished()? {
    ///         if reader.try_read(&mut record)? {
    ///             assert_eq!(record, b"a record");
    ///             continue;
    ///         }
    ///         poll(&mut [PollFd::new(reader.bell(), PollFlags::IN)], None)?;
    ///         reader.bell().wait(Some(Duration::ZERO))?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bell(&self) -> &B {
        self.end.bell()
    }
}
