// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where in a ring's memory what is, in bytes. The documentation of `ring` has the table.

/// What says that this is a ring.
pub(super) const MAGIC: usize = 0;
pub(super) const VERSION: usize = 8;
/// Bytes of data.
pub(super) const CAPACITY: usize = 16;

/// How many bytes of data there ever were.
pub(super) const WRITTEN: usize = 64;
/// Whether there is a writer: [`PRESENT`], [`LEFT`], or neither if there never was one; above these bits
/// ([`STATE`]), how many there were.
pub(super) const WRITER: usize = 72;
/// Whether the reader waits for its bell.
pub(super) const READER_WAITS: usize = 80;

/// What the writer's lock is good for: what is at [`WRITER`] then, and the locked inode.
pub(super) const WRITER_LEASE: [usize; 3] = [88, 96, 104];

/// How many bytes of data were ever taken.
pub(super) const READ: usize = 128;
/// Whether there is a reader.
pub(super) const READER: usize = 136;
/// Whether the writer waits for its bell.
pub(super) const WRITER_WAITS: usize = 144;

/// What the reader's lock is good for.
pub(super) const READER_LEASE: [usize; 3] = [152, 160, 168];

/// Where the data starts.
pub(super) const DATA: usize = 192;

/// All that changes while the ring is used.
pub(super) const NUMBERS: [usize; 12] = [
    WRITTEN,
    WRITER,
    READER_WAITS,
    WRITER_LEASE[0],
    WRITER_LEASE[1],
    WRITER_LEASE[2],
    READ,
    READER,
    WRITER_WAITS,
    READER_LEASE[0],
    READER_LEASE[1],
    READER_LEASE[2],
];

/// What a ring starts with.
pub(super) const MAGIC_NUMBER: u64 = u64::from_ne_bytes(*b"chrmring");
/// The version that this is.
pub(super) const THIS_VERSION: u64 = 2;

/// The bits that say whether an end is there.
pub(super) const STATE: u64 = 3;
/// An end that is there.
pub(super) const PRESENT: u64 = 1;
/// An end that was there.
pub(super) const LEFT: u64 = 2;

/// Records start at multiples of this many bytes, and their lengths have as many.
pub(super) const UNIT: usize = 8;
