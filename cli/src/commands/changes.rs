// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem changes`

use crate::address::{Address, Part};
use crate::size::{self, Exact};
use crate::{hint, json};
use anyhow::Result;
use chrmem::Errno;
use clap::Args;
use serde::Serialize;
use std::io::{self, Write};
use std::ops::Range;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem create frames a:16M,track=1
  chrmem changes frames
  chrmem changes frames:a --since 17
  chrmem changes frames --follow --json | jq --unbuffered '.changes[].offset'";

/// What can be typed after `chrmem changes`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where: DEVICE, DEVICE:WINDOW, or DEVICE:WINDOW+OFFSET
    #[arg(value_name = "PLACE", default_value = "chrmem0")]
    place: Address,
    /// How many bytes [default: all up to the end of the window]
    #[arg(short = 'n', long, value_name = "SIZE", value_parser = size::parse, allow_hyphen_values = true)]
    length: Option<u64>,
    /// Only what has changed after GENERATION; 0 is all since the device was made
    #[arg(
        short,
        long,
        value_name = "GENERATION",
        default_value_t = 0,
        allow_hyphen_values = true
    )]
    since: u64,
    /// Go on with changes as they come
    #[arg(short, long)]
    follow: bool,
    /// Print JSON: numbers are bytes. With --follow, one value a line
    #[arg(long)]
    json: bool,
}

/// A look as JSON.
#[derive(Serialize)]
struct Look<'a> {
    /// What it is complete up to.
    generation: u64,
    changes: Vec<Change<'a>>,
}

/// Bytes of one window that may have changed.
#[derive(Serialize)]
struct Change<'a> {
    window: &'a str,
    /// Counted from the start of the device.
    offset: u64,
    size: u64,
    /// What people are told: counted from the start of the window.
    #[serde(skip)]
    within: u64,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let device = arguments.place.open_read_only()?;
    let range = arguments.place.locate(&device, arguments.length)?.range;
    let windows: Vec<_> = device.windows()?.into_iter().map(Part::from).collect();
    let explain = |error| explain(error, arguments);
    if !arguments.follow {
        let changes = device.changes_in(range, arguments.since).map_err(explain)?;
        let look = Look::of(&changes, &windows);
        return match arguments.json {
            true => json::print(&look, out),
            false => look.print(out),
        };
    }
    for changes in device.watch_changes_in(range, arguments.since) {
        let changes = changes.map_err(explain)?;
        let look = Look::of(&changes, &windows);
        if arguments.json {
            serde_json::to_writer(&mut *out, &look).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            look.print(out)?;
        }
        out.flush()?;
    }
    Ok(())
}

impl<'a> Look<'a> {
    fn of(changes: &chrmem::Changes, windows: &'a [Part]) -> Self {
        let change = |range: &Range<u64>| {
            let window = windows.iter().find(|it| it.range.contains(&range.start))?;
            Some(Change {
                window: &window.window,
                offset: range.start,
                size: range.end - range.start,
                within: range.start - window.range.start,
            })
        };
        Self {
            generation: changes.generation,
            changes: changes.ranges.iter().filter_map(change).collect(),
        }
    }

    /// For people: a line for each change, and where to go on.
    fn print(&self, out: &mut impl Write) -> Result<()> {
        for change in &self.changes {
            let (window, within) = (change.window, change.within);
            writeln!(out, "{window}+{within:#x} {}", Exact(change.size))?;
        }
        writeln!(out, "generation {}", self.generation)?;
        Ok(())
    }
}

/// The error of a look, with what to do about it.
fn explain(error: chrmem::Error, arguments: &Arguments) -> anyhow::Error {
    match error.errno() {
        Some(Errno::OPNOTSUPP) => hint::with(
            error,
            "no window there is tracked: `chrmem create NAME WINDOW:SIZE,track=1` makes one that is",
        ),
        Some(Errno::INVAL) if arguments.since > 0 => hint::with(
            error,
            "has the device been made anew? its generation, which `chrmem info` shows, starts at 0 then",
        ),
        _ => error.into(),
    }
}
