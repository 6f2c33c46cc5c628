// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can go wrong.

use rustix::io::Errno;
use std::io;

/// What a call of this library answers.
///
/// ```
/// fn first_word(memory: &chrmem::Mapping) -> chrmem::Result<u32> {
///     memory.read(0)
/// }
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// What was tried, on what, and why it failed.
///
/// The kernel's reason, where there is one, is the error's
/// [`source`](std::error::Error::source) and [`errno`](Error::errno).
///
/// ```
/// use chrmem::{Error, Mapping};
///
/// let error = Mapping::anonymous(100)?.copy_to(96, &mut [0; 8]).unwrap_err();
/// assert!(matches!(error, Error::OutOfBounds { offset: 96, length: 8, size: 100 }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a call.
    #[error("cannot {tried}")]
    Refused {
        /// What was tried on what: `map bytes 0..4096 of /dev/chrmem0`.
        tried: String,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },

    /// A file is not a chrmem device; no command was sent to it.
    #[error("{file} is not a chrmem device")]
    NotADevice {
        /// The file.
        file: String,
    },

    /// An access would have left the mapping or the view; nothing was accessed.
    #[error("{length} bytes at offset {offset} do not lie in a mapping of {size} bytes")]
    OutOfBounds {
        /// Where in the mapping or view the access was to start, in bytes.
        offset: usize,
        /// How many bytes were to be accessed.
        length: usize,
        /// Size of the mapping or view in bytes.
        size: usize,
    },

    /// There is no element with this index in an array.
    #[error("there is no element {index} in an array of {len}")]
    NoElement {
        /// The index, counted from zero.
        index: usize,
        /// How many elements there are.
        len: usize,
    },

    /// What is accessed as a whole must lie at a multiple of its size.
    #[error("what lies at offset {offset} of the mapping is not aligned to {align} bytes")]
    Misaligned {
        /// Where in the mapping or view the access was to be, in bytes.
        offset: usize,
        /// What the address must be a multiple of, in bytes.
        align: usize,
    },

    /// A mapping that cannot be written was to be: its file was opened read-only, or it was asked to
    /// be read-only.
    #[error("the mapping is read-only: its device was opened so, or it was mapped so")]
    ReadOnly,

    /// Bytes of a mapping cannot be accessed any more: its file became shorter, the disk cannot be read, or it
    /// is memory that the kernel copies for nobody. The bytes before were copied.
    #[error(
        "cannot access the bytes from offset {offset} on of a mapping of {size} bytes: \
         its file became shorter, its disk failed, or the kernel does not copy such memory"
    )]
    Gone {
        /// The first byte of the mapping or view that could not be accessed, or one shortly before.
        offset: usize,
        /// Size of the mapping or view in bytes.
        size: usize,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },

    /// The memory of a mapping was taken away, because it belonged to hardware that was unplugged, or unbound from its
    /// driver. What was read is nothing, and what was written is lost. The [`errno`](Self::errno) is `NODEV`, as that of calls.
    #[error(
        "cannot access the mapping of {file}: its hardware was unplugged, or unbound from its driver; \
         once that is back, make or open the device again, and map it anew"
    )]
    Revoked {
        /// The file that was mapped, as it was called then.
        file: String,
    },

    /// An access that only the processor can do, an atomic one, is not possible: the file behind the
    /// mapping can become shorter, which would end the process.
    #[error(
        "the mapping's file can become shorter, which allows no atomic access: \
         use a device, or a memfd sealed against shrinking"
    )]
    CanShrink,

    /// A range to be mapped has no bytes, or ends before it starts.
    #[error("there are no bytes in {start}..{end} to map")]
    EmptyRange {
        /// First byte of the range.
        start: u64,
        /// The byte after its last.
        end: u64,
    },

    /// A range does not lie in the file or window that it was to be taken from.
    #[error("bytes {start}..{end} do not lie in {place}, which has {size} bytes")]
    PastEnd {
        /// First byte of the range.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// The file or window.
        place: String,
        /// How many bytes it has.
        size: u64,
    },

    /// A file does not tell how long it is, so that a range of it needs an end.
    #[error("{file} does not tell its size: say where the range to be mapped ends")]
    UnknownSize {
        /// The file.
        file: String,
    },

    /// A device has no window of this name.
    #[error("{device} has no window called `{name}`")]
    NoWindow {
        /// The device.
        device: String,
        /// The name that was looked for.
        name: String,
    },

    /// A mapping was never made a ring.
    #[error("there is no ring in the mapping: it has not been formatted as one")]
    NoRing,

    /// A mapping is too small to be made a ring.
    #[error("a ring does not fit into {size} bytes: it takes {least} at least")]
    RingTooSmall {
        /// Bytes of the mapping.
        size: usize,
        /// Bytes that are needed at least.
        least: usize,
    },

    /// Another one is attached to this end of a ring, or was when it died.
    #[error("the ring has a {end} already")]
    RingTaken {
        /// `reader` or `writer`.
        end: &'static str,
    },

    /// What is in a ring cannot be: something else has written to its memory.
    #[error("the ring is damaged: {what} is {number}")]
    RingDamaged {
        /// What cannot be.
        what: &'static str,
        /// What it is.
        number: u64,
    },

    /// A record is longer than its ring; nothing was written.
    #[error("a record of {length} bytes does not fit into a ring for {longest} at most")]
    RecordTooLong {
        /// Bytes of the record.
        length: usize,
        /// Bytes of the longest record that would fit.
        longest: usize,
    },

    /// A ring is full, and its reader has left.
    #[error("the ring is full, and its reader has left")]
    ReaderLeft,

    /// The other end of a ring died: its process ended without a word, killed for example. Every record that it
    /// finished has been taken.
    #[error("the ring's {end} has died")]
    RingAbandoned {
        /// `reader` or `writer`.
        end: &'static str,
    },

    /// What was waited for did not happen in time.
    #[error("the other end of the ring did nothing in the time it was given")]
    TimedOut,
}

impl Error {
    /// The kernel's reason, if it was the kernel that refused. For [`NotADevice`](Self::NotADevice), it is what
    /// files answer to commands that they do not know: `NOTTY`; for [`Revoked`](Self::Revoked), it is `NODEV`.
    ///
    /// ```
    /// use chrmem::{Device, Errno};
    ///
    /// let error = Device::open("/nowhere/chrmem0").unwrap_err();
    /// assert_eq!(error.errno(), Some(Errno::NOENT));
    /// assert_eq!(error.to_string(), "cannot open /nowhere/chrmem0");
    /// ```
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } | Self::Gone { errno, .. } => Some(*errno),
            Self::NotADevice { .. } => Some(Errno::NOTTY),
            Self::Revoked { .. } => Some(Errno::NODEV),
            _ => None,
        }
    }
}

/// For functions that answer [`io::Result`]: the kind is that of the kernel's reason, if there
/// is one, and the error itself is inside.
///
/// ```
/// let error = chrmem::Device::open("/nowhere/chrmem0").unwrap_err();
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
/// ```
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match (&error, error.errno()) {
            (_, Some(errno)) => Self::from(errno).kind(),
            (Error::TimedOut, None) => io::ErrorKind::TimedOut,
            (Error::ReaderLeft | Error::RingAbandoned { .. }, None) => io::ErrorKind::BrokenPipe,
            (Error::NoRing | Error::RingDamaged { .. }, None) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
