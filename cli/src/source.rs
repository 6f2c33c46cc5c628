// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device's bytes as a stream.

use chrmem::{Device, Mapping};
use clap::ValueEnum;
use std::io::{self, Read};
use std::ops::Range;

/// How bytes come out of a device.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Via {
    /// Through a mapping: the program loads from the memory of the device
    Mmap,
    /// With read(2): the kernel copies
    Read,
}

/// A range of one window as a stream.
pub(crate) enum Source<'a> {
    /// A mapping of it, and how many bytes of it are read.
    Mapped(Mapping, usize),
    /// What is left of it.
    Copied(&'a Device, Range<u64>),
}

impl<'a> Source<'a> {
    pub(crate) fn new(device: &'a Device, range: Range<u64>, via: Via) -> chrmem::Result<Self> {
        Ok(match via {
            Via::Mmap => Self::Mapped(device.map(range)?, 0),
            Via::Read => Self::Copied(device, range),
        })
    }
}

impl Read for Source<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Mapped(mapping, at) => {
                let length = target.len().min(mapping.len() - *at);
                mapping
                    .copy_to(*at, &mut target[..length])
                    .map_err(io::Error::other)?;
                *at += length;
                Ok(length)
            }
            Self::Copied(device, range) => {
                let rest = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let length = target.len().min(rest);
                if length == 0 {
                    return Ok(0);
                }
                let length = device
                    .read_at(range.start, &mut target[..length])
                    .map_err(io::Error::other)?;
                range.start += length as u64;
                Ok(length)
            }
        }
    }
}
