// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device's memory in this process.

use crate::error::{Error, Result};
use crate::raw::Pages;

/// A range of a device's bytes, mapped shared into this process until it is dropped.
///
/// What is stored here is in the device at once, and what others do to the device is seen here at
/// once: there is no copy of the bytes. Closing the [`Device`](crate::Device) does not end a mapping.
///
/// Others may write at any time, so the bytes of one copy can be a mixture of old and new ones, and
/// two copies of the same bytes can differ. A copy moves aligned groups of eight bytes at once.
///
/// A mapping may be used by several threads at the same time. A child made by `fork` has it too.
#[derive(Debug)]
pub struct Mapping {
    pages: Pages,
    /// Bytes of the first page that lie before the range.
    lead: usize,
    /// Bytes of the range.
    len: usize,
}

impl Mapping {
    /// The `len` bytes of `pages` behind its first `lead` ones, which lie in the pages.
    pub(crate) fn new(pages: Pages, lead: usize, len: usize) -> Self {
        Self { pages, lead, len }
    }

    /// How many bytes are mapped: exactly the range that was asked for, never zero.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is mapped, which is never the case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether [`copy_from`](Self::copy_from) is possible: not if the device was opened read-only.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.pages.writable()
    }

    /// Copies the bytes of the mapping from `offset` on into `target`, filling it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`. Nothing is copied then.
    ///
    /// ```no_run
    /// let memory = chrmem::Device::open("/dev/chrmem0")?.map(..)?;
    /// let mut header = [0; 16];
    /// memory.copy_to(0, &mut header)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn copy_to(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        self.check(offset, target.len())?;
        self.pages.read(self.lead + offset, target);
        Ok(())
    }

    /// Copies `source` over the bytes of the mapping from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`; [`Error::ReadOnly`] if the
    /// device was opened read-only. Nothing is copied then.
    ///
    /// ```no_run
    /// let memory = chrmem::Device::open("/dev/chrmem0")?.map(..)?;
    /// memory.copy_from(100, b"at byte one hundred")?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn copy_from(&self, offset: usize, source: &[u8]) -> Result<()> {
        if !self.is_writable() {
            return Err(Error::ReadOnly);
        }
        self.check(offset, source.len())?;
        self.pages.write(self.lead + offset, source);
        Ok(())
    }

    /// The bytes from `offset` on up to the first NUL, without it, or up to the end of the mapping
    /// if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if `offset` lies behind the end of the mapping.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// device.reset()?;
    /// assert_eq!(device.map(..)?.c_string(0)?, b"hello, user!");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn c_string(&self, offset: usize) -> Result<Vec<u8>> {
        self.check(offset, 0)?;
        let mut string = Vec::new();
        let mut chunk = [0; 64];
        loop {
            let start = offset + string.len();
            let chunk = &mut chunk[..(self.len - start).min(64)];
            self.copy_to(start, chunk)?;
            let text = chunk
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(chunk.len());
            string.extend_from_slice(&chunk[..text]);
            if text < 64 {
                return Ok(string);
            }
        }
    }

    /// Where in this process the mapping's first byte is.
    ///
    /// For what this library does not offer: to hand the address to a system call, or to code that
    /// can promise more about who writes when. It is valid for [`len`](Self::len) bytes until the
    /// mapping is dropped. To make a reference from it is wrong as long as anyone may write.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.pages.as_ptr().wrapping_add(self.lead)
    }

    /// Whether `length` bytes follow `offset`.
    fn check(&self, offset: usize, length: usize) -> Result<()> {
        match self.len.checked_sub(offset) {
            Some(rest) if length <= rest => Ok(()),
            _ => Err(Error::OutOfBounds {
                offset,
                length,
                size: self.len,
            }),
        }
    }
}
