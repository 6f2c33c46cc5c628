// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can go wrong.

use rustix::io::Errno;

/// What a call of this library answers.
pub type Result<T> = std::result::Result<T, Error>;

/// What was tried, on what, and why it failed.
///
/// The kernel's reason, where there is one, is the error's
/// [`source`](std::error::Error::source) and [`errno`](Error::errno).
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

    /// A copy from or to a mapping would have left it; nothing was copied.
    #[error("{length} bytes at offset {offset} do not lie in a mapping of {size} bytes")]
    OutOfBounds {
        /// Where in the mapping the copy was to start, in bytes.
        offset: usize,
        /// How many bytes were to be copied.
        length: usize,
        /// Size of the mapping in bytes.
        size: usize,
    },

    /// A mapping of a device that was opened read-only was to be written.
    #[error("the mapping is read-only: its device was opened so")]
    ReadOnly,

    /// A range to be mapped has no bytes, or ends before it starts.
    #[error("there are no bytes in {start}..{end} to map")]
    EmptyRange {
        /// First byte of the range.
        start: u64,
        /// The byte after its last.
        end: u64,
    },
}

impl Error {
    /// The kernel's reason, if it was the kernel that refused.
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
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}
