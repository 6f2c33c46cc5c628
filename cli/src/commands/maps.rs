// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem maps`

use crate::maps::{self, svg, text};
use crate::{colour, hint, json, node, stderr, sysfs};
use anyhow::{Context, Result};
use clap::Args;
use std::fs;
use std::io::{stdout, Write};
use std::path::PathBuf;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  sudo chrmem maps
  sudo chrmem maps camera --svg camera.svg";

/// What can be typed after `chrmem maps`.
#[derive(Args)]
pub(crate) struct Maps {
    /// The device: its node, or a name such as chrmem0, or camera for /dev/chrmem-camera [default:
    /// all]
    #[arg(value_name = "DEVICE")]
    device: Option<String>,
    /// Print JSON: numbers are bytes
    #[arg(long, conflicts_with = "svg")]
    json: bool,
    /// Draw an SVG picture into a file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Maps, out: &mut impl Write) -> Result<()> {
    sysfs::check_loaded()?;
    let maps::Survey {
        mut devices,
        hidden,
    } = maps::survey()?;
    if let Some(name) = &arguments.device {
        let node = node::path(name);
        // A node that was made by hand has another name than the device.
        let wanted = rustix::fs::stat(&node).map(|about| about.st_rdev);
        devices.retain(|device| {
            let number = rustix::fs::stat(&device.node).map(|about| about.st_rdev);
            node.as_os_str() == device.node.as_str()
                || !device.destroyed && number.is_ok() && number == wanted
        });
        if devices.is_empty() {
            // That says what is wrong with it.
            node::open_read_only(name)?.info()?;
        }
    }
    if hidden > 0 {
        let es = if hidden == 1 { "" } else { "es" };
        let advice = if hint::is_root() {
            ""
        } else {
            ": try with sudo"
        };
        stderr::say(format_args!(
            "note: {hidden} process{es} could not be looked into{advice}"
        ));
    }
    if arguments.json {
        return json::print(&devices, out);
    }
    if let Some(path) = &arguments.svg {
        return fs::write(path, svg::draw(&devices))
            .with_context(|| format!("cannot write {}", path.display()));
    }
    let picture = text::draw(&devices, width());
    write!(out, "{}", colour::strip_unless_wanted(&picture))?;
    Ok(())
}

/// Columns of the terminal, or of what stands in for it.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|it| it.parse().ok());
    let terminal = || rustix::termios::tcgetwinsize(stdout()).ok();
    columns
        .or_else(|| {
            terminal()
                .map(|it| usize::from(it.ws_col))
                .filter(|it| *it > 0)
        })
        .unwrap_or(100)
}
