// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem wait`

use crate::duration;
use crate::node::Device;
use anyhow::{Context, Result};
use clap::Args;
use std::io::Write;
use std::time::{Duration, Instant};

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem wait camera --timeout 5s && chrmem read camera
  generation=$(chrmem wait camera --since \"$generation\")";

/// What can be typed after `chrmem wait`.
#[derive(Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    device: Device,
    /// Give up after so long, with exit status 1: 500ms, 2s, 3m
    #[arg(short, long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Wait until the generation is another than this; if not given, than it is now
    #[arg(short, long, value_name = "GENERATION")]
    since: Option<u64>,
}

pub(crate) fn run(arguments: &Wait, out: &mut impl Write) -> Result<()> {
    let device = arguments.device.open_read_only()?;
    let deadline = arguments
        .timeout
        .and_then(|timeout| Instant::now().checked_add(timeout));
    let mut generation = device.seen()?;
    let since = arguments.since.unwrap_or(generation);
    while generation == since {
        let rest = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        generation = device.wait(rest)?.with_context(|| {
            format!("nothing changed in time: the generation is still {generation}")
        })?;
    }
    writeln!(out, "{generation}")?;
    Ok(())
}
