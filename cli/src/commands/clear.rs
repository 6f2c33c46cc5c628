// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem clear`

use crate::address::Address;
use crate::size;
use anyhow::Result;
use clap::Args;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem clear chrmem0
  chrmem clear camera:frames+4K --length 4K";

/// What can be typed after `chrmem clear`.
#[derive(Args)]
pub(crate) struct Clear {
    /// Where: DEVICE, DEVICE:WINDOW, or DEVICE:WINDOW+OFFSET
    #[arg(value_name = "PLACE")]
    place: Address,
    /// How many bytes [default: all up to the end of the window]
    #[arg(short = 'n', long, value_name = "SIZE", value_parser = size::parse, allow_hyphen_values = true)]
    length: Option<u64>,
}

pub(crate) fn run(arguments: &Clear) -> Result<()> {
    let device = arguments.place.open()?;
    if arguments.place.is_whole() && arguments.length.is_none() {
        return Ok(device.clear()?);
    }
    let place = arguments.place.locate(&device, arguments.length)?;
    place.check_writable()?;
    Ok(device.clear_range(place.range)?)
}
