// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem fill`

use crate::address::Address;
use crate::progress::Progress;
use crate::target::{Target, Via};
use crate::{byte, size};
use anyhow::Result;
use clap::Args;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem fill chrmem0 '*' --length 40
  chrmem fill camera:frames 0xff";

/// Bytes that are written at once.
const CHUNK: u64 = 1 << 20;

/// What can be typed after `chrmem fill`.
#[derive(Args)]
pub(crate) struct Fill {
    /// Where: DEVICE, DEVICE:WINDOW, or DEVICE:WINDOW+OFFSET
    #[arg(value_name = "PLACE")]
    place: Address,
    /// The byte: 0 to 255, 0x00 to 0xff, or a character
    #[arg(value_parser = byte::parse, allow_hyphen_values = true)]
    byte: u8,
    /// How many bytes [default: all up to the end of the window]
    #[arg(short = 'n', long, value_name = "SIZE", value_parser = size::parse, allow_hyphen_values = true)]
    length: Option<u64>,
    /// How to write
    #[arg(long, default_value = "write")]
    via: Via,
}

pub(crate) fn run(arguments: &Fill) -> Result<()> {
    let device = arguments.place.open()?;
    let place = arguments.place.locate(&device, arguments.length)?;
    place.check_writable()?;
    let target = Target::new(&device, arguments.via);
    let mut progress = Progress::new(place.len());
    let chunk = vec![arguments.byte; CHUNK.min(place.len()) as usize];
    for part in &place.parts {
        let mut at = part.range.start;
        while at < part.range.end {
            let length = CHUNK.min(part.range.end - at);
            target.write(at, &chunk[..length as usize])?;
            progress.add(length);
            at += length;
        }
    }
    Ok(())
}
