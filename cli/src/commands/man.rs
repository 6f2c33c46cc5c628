// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem man`

use crate::cli::{Cli, EXIT_STATUS};
use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory};
use clap_mangen::roff::{bold, italic, roman, Inline, Roff};
use clap_mangen::Man;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem man | man -l -
  sudo chrmem man /usr/local/share/man/man1";

/// Files that the commands use: the page chrmem(4), which is written by hand, has them as well.
const FILES: &[(&str, &str, &str)] = &[
    (
        "/dev/chrmem0",
        "",
        "The first device that the module made itself.",
    ),
    ("/dev/chrmem-", "NAME", "A device made at run time."),
    (
        "/sys/kernel/config/chrmem/",
        "",
        "The devices made at run time, and their settings.",
    ),
];

/// What can be typed after `chrmem man`.
#[derive(Args)]
pub(crate) struct Pages {
    /// Write a page for each subcommand into this directory [default: print that of chrmem]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Pages, out: &mut impl Write) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &arguments.folder else {
        return write(&command, out);
    };
    let all = command.get_subcommands().chain([&command]);
    for command in all {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let mut page = Vec::new();
        write(command, &mut page)?;
        fs::write(folder.join(format!("{name}.1")), page)
            .with_context(|| format!("cannot write the pages into {}", folder.display()))?;
    }
    Ok(())
}

/// Writes the page of a command.
fn write(command: &Command, out: &mut impl Write) -> Result<()> {
    let man = Man::new(command.clone()).manual("chrmem");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let is_main = command.has_subcommands();
    if is_main {
        man.render_subcommands_section(out)?;
    }
    let mut end = Roff::new();
    exit_status(&mut end);
    if is_main {
        files(&mut end);
    } else if let Some(help) = command.get_after_help() {
        examples(&help.to_string(), &mut end);
    }
    see_also(command, &mut end);
    end.to_writer(out)?;
    Ok(())
}

fn exit_status(page: &mut Roff) {
    page.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in EXIT_STATUS {
        page.control("TP", []);
        page.text([bold(status.to_string())]);
        page.text([roman(*meaning)]);
    }
}

fn files(page: &mut Roff) {
    page.control("SH", ["FILES"]);
    for (path, name, meaning) in FILES {
        page.control("TP", []);
        page.text([bold(*path), italic(*name)]);
        page.text([roman(*meaning)]);
    }
}

/// Writes what the help of a command ends with: a heading for each of its parts, and the lines as they are.
fn examples(help: &str, page: &mut Roff) {
    for line in help.lines() {
        match line.strip_suffix(':').filter(|it| !it.starts_with(' ')) {
            Some(heading) => {
                if !heading.starts_with("Keys") && !heading.starts_with("Settings") {
                    page.control("SH", ["EXAMPLES"]);
                } else {
                    page.control("SH", [heading.to_uppercase().as_str()]);
                }
                page.control("nf", []);
            }
            None => {
                page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
        }
    }
    page.control("fi", []);
}

/// Names the other pages: those of the subcommands, or that of chrmem, and that of the device.
fn see_also(command: &Command, page: &mut Roff) {
    page.control("SH", ["SEE ALSO"]);
    let pages: Vec<_> = match command.has_subcommands() {
        true => command
            .get_subcommands()
            .filter_map(Command::get_display_name)
            .map(|name| (name, "(1), "))
            .collect(),
        false => vec![("chrmem", "(1), ")],
    };
    let mut line: Vec<Inline> = Vec::new();
    for (name, section) in pages.into_iter().chain([("chrmem", "(4)")]) {
        line.extend([bold(name), roman(section)]);
    }
    page.text(line);
}
