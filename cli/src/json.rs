// SPDX-License-Identifier: MIT OR Apache-2.0

//! Output for programs.

use anyhow::Result;
use serde::Serialize;
use std::io::{self, Write};

/// Prints a value as JSON that people can read as well.
pub(crate) fn print(value: &impl Serialize, out: &mut impl Write) -> Result<()> {
    // An error of the output stays what it is, so that a closed pipe is known as one.
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
