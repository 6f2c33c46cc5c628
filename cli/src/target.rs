// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where bytes go.

use anyhow::{bail, Result};
use chrmem::Device;
use clap::ValueEnum;

/// How bytes get into a device.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Via {
    /// Through a mapping: the program stores into the memory of the device, and nobody who waits for
    /// a change is woken
    Mmap,
    /// With write(2): the kernel copies, and wakes everyone who waits for a change
    Write,
}

/// A device that is written to.
pub(crate) struct Target<'a> {
    device: &'a Device,
    via: Via,
}

impl<'a> Target<'a> {
    pub(crate) fn new(device: &'a Device, via: Via) -> Self {
        Self { device, via }
    }

    /// Writes all of `bytes` to where `at` is.
    pub(crate) fn write(&self, mut at: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let length = match self.via {
                Via::Mmap => self.store(at, bytes)?,
                Via::Write => self.device.write_at(at, bytes)?,
            };
            if length == 0 {
                bail!("nothing could be written at {at:#x}");
            }
            at += length as u64;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Stores the first of `bytes`, as many as the window has room for.
    fn store(&self, at: u64, bytes: &[u8]) -> Result<usize> {
        let end = self
            .device
            .windows()?
            .iter()
            .map(chrmem::Window::range)
            .find(|range| range.contains(&at))
            .map_or(at, |range| range.end);
        let room = usize::try_from(end - at).unwrap_or(usize::MAX);
        let length = bytes.len().min(room);
        let mapping = self.device.map(at..at + length as u64)?;
        mapping.copy_from(0, &bytes[..length])?;
        Ok(length)
    }
}
