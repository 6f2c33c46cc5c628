// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem man`

use crate::cli::Cli;
use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_mangen::{generate_to, Man};
use std::io::Write;
use std::path::PathBuf;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem man | man -l -
  sudo chrmem man /usr/local/share/man/man1";

/// What can be typed after `chrmem man`.
#[derive(Args)]
pub(crate) struct Pages {
    /// Write a page for each subcommand into this directory [default: print that of chrmem]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Pages, out: &mut impl Write) -> Result<()> {
    match &arguments.folder {
        Some(folder) => generate_to(Cli::command(), folder)
            .with_context(|| format!("cannot write the pages into {}", folder.display())),
        None => {
            // As in a folder of pages.
            let mut command = Cli::command().disable_help_subcommand(true);
            command.build();
            Ok(Man::new(command).render(out)?)
        }
    }
}
