// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem read`

use crate::address::{Address, Part};
use crate::progress::Progress;
use crate::source::{Source, Via};
use crate::{colour, size};
use anyhow::Result;
use clap::Args;
use hexyl::PrinterBuilder;
use std::io::{self, BufWriter, Read as _, Write};

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
fn show(source: impl io::Read, part: &Part, out: &mut impl Write) -> Result<()> {
    let mut out = BufWriter::new(out);
    let mut failure = None;
    PrinterBuilder::new(&mut out)
        .show_color(colour::is_wanted())
        .build()
        .display_offset(part.range.start)
        .print_all(UntilFailure {
            source,
            failure: &mut failure,
        })?;
    out.flush()?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// A source that ends where it fails: the printer would read it again and again.
struct UntilFailure<'a, R> {
    source: R,
    failure: &'a mut Option<io::Error>,
}

impl<R: io::Read> io::Read for UntilFailure<'_, R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        Ok(self.source.read(target).unwrap_or_else(|error| {
            *self.failure = Some(error);
            0
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has some bytes, then fails once.
    struct Failing(usize);

    impl io::Read for Failing {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => {
                    target[..20].copy_from_slice(&[b'x'; 20]);
                    Ok(20)
                }
                2 => Err(io::Error::other("it is gone")),
                _ => panic!("read again after it failed"),
            }
        }
    }

    #[test]
    fn a_source_that_fails_ends_the_picture_with_its_error() {
        let part = Part {
            window: "window".to_owned(),
            range: 0..4096,
            writable: false,
            tracked: false,
        };
        let mut out = Vec::new();
        let error = show(Failing(0), &part, &mut out).expect_err("it fails");
        assert_eq!(error.to_string(), "it is gone");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("xxxxxxxx"), "{text}");
    }
}
