// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem read`

use crate::address::{Address, Part};
use crate::progress::Progress;
use crate::source::{Source, Via};
use crate::{colour, size};
use anyhow::Result;
use clap::Args;
use hexyl::PrinterBuilder;
use std::io::{BufWriter, Read as _, Write};

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem read camera:header
  chrmem read camera:frames+16M --length 64K --raw > frame";

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// What can be typed after `chrmem read`.
#[derive(Args)]
pub(crate) struct Read {
    /// Where: DEVICE, DEVICE:WINDOW, or DEVICE:WINDOW+OFFSET
    #[arg(value_name = "PLACE", default_value = "chrmem0")]
    place: Address,
    /// How many bytes [default: all up to the end of the window]
    #[arg(short = 'n', long, value_name = "SIZE", value_parser = size::parse, allow_hyphen_values = true)]
    length: Option<u64>,
    /// How to read
    #[arg(long, default_value = "mmap")]
    via: Via,
    /// Print the bytes unchanged
    #[arg(long)]
    raw: bool,
}

pub(crate) fn run(arguments: &Read, out: &mut impl Write) -> Result<()> {
    let device = arguments.place.open_read_only()?;
    let place = arguments.place.locate(&device, arguments.length)?;
    if arguments.raw {
        // Nobody could tell what was left out.
        place.check_no_hole()?;
        let mut progress = Progress::of_output(place.len());
        for part in &place.parts {
            let source = Source::new(&device, part.range.clone(), arguments.via)?;
            copy(source, out, &mut progress)?;
        }
        return Ok(());
    }
    for (index, part) in place.parts.iter().enumerate() {
        let source = Source::new(&device, part.range.clone(), arguments.via)?;
        if place.parts.len() > 1 {
            let blank = if index == 0 { "" } else { "\n" };
            writeln!(out, "{blank}{}:", part.window)?;
        }
        show(source, part, out)?;
    }
    Ok(())
}

/// Copies all of the source.
fn copy(mut source: Source<'_>, out: &mut impl Write, progress: &mut Progress) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = source.read(&mut chunk)?;
        if length == 0 {
            out.flush()?;
            return Ok(());
        }
        out.write_all(&chunk[..length])?;
        progress.add(length as u64);
    }
}

/// Shows all of the source in hexadecimal, with offsets of the device.
fn show(source: Source<'_>, part: &Part, out: &mut impl Write) -> Result<()> {
    let mut out = BufWriter::new(out);
    PrinterBuilder::new(&mut out)
        .show_color(colour::is_wanted())
        .build()
        .display_offset(part.range.start)
        .print_all(source)?;
    out.flush()?;
    Ok(())
}
