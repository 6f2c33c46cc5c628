// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where in a ring's memory what is, in bytes. The documentation of `ring` has the table.

/// What says that this is a ring.
pub(super) const MAGIC: usize = 0;
pub(super) const VERSION: usize = 8;
/// Bytes of data.
pub(super) const CAPACITY: usize = 16;

/// How many bytes of data there ever were.
pub(super) const WRITTEN: usize = 64;
/// Whether there is a writer: [`PRESENT`], [`LEFT`], or neither if there never was one.
pub(super) const WRITER: usize = 72;
/// Whether the reader waits for its bell.
pub(super) const READER_WAITS: usize = 80;

/// How many bytes of data were ever taken.
pub(super) const READ: usize = 128;
/// Whether there is a reader.
pub(super) const READER: usize = 136;
/// Whether the writer waits for its bell.
pub(super) const WRITER_WAITS: usize = 144;

/// Where the data starts.
pub(super) const DATA: usize = 192;

/// All that changes while the ring is used.
pub(super) const NUMBERS: [usize; 6] = [WRITTEN, WRITER, READER_WAITS, READ, READER, WRITER_WAITS];

/// What a ring starts with.
pub(super) const MAGIC_NUMBER: u64 = u64::from_ne_bytes(*b"chrmring");
/// The version that this is.
pub(super) const THIS_VERSION: u64 = 1;

/// An end that is there.
pub(super) const PRESENT: u64 = 1;
/// An end that was there.
pub(super) const LEFT: u64 = 2;

/// Records start at multiples of this many bytes, and their lengths have as many.
pub(super) const UNIT: usize = 8;
