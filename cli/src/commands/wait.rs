// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem wait`

use crate::duration;
use crate::node::Device;
use anyhow::Result;
use clap::Args;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem wait camera --timeout 5s && chrmem read camera

  generation=0
  while generation=$(chrmem wait camera --since $generation); do
      chrmem read camera
  done";

/// What can be typed after `chrmem wait`.
#[derive(Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    device: Device,
    /// Give up after this time with exit status 124: 500ms, 2s, 3m
    #[arg(short, long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    /// Return when the generation differs from GENERATION [default: the current one]
    #[arg(short, long, value_name = "GENERATION", allow_hyphen_values = true)]
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
        generation = device.wait(rest)?.ok_or(TimedOut { generation })?;
    }
    writeln!(out, "{generation}")?;
    Ok(())
}

/// The error of a wait that took too long: it has an exit status of its own.
#[derive(Debug)]
pub(crate) struct TimedOut {
    generation: u64,
}

impl TimedOut {
    /// The exit status, as that of timeout(1).
    pub(crate) const STATUS: u8 = 124;
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out: the generation is still {}", self.generation)
    }
}

impl std::error::Error for TimedOut {}
