// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem completions`

use crate::cli::Cli;
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::{generate, Shell};
use std::io::Write;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  source <(chrmem completions bash)
  chrmem completions fish > ~/.config/fish/completions/chrmem.fish";

/// What can be typed after `chrmem completions`.
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Completions, out: &mut impl Write) -> Result<()> {
    // It would panic where the output is closed.
    let mut script = Vec::new();
    generate(arguments.shell, &mut Cli::command(), "chrmem", &mut script);
    out.write_all(&script)?;
    Ok(())
}
