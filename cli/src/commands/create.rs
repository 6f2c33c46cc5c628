// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem create`

use crate::configfs::{Folder, Tree};
use crate::hint;
use crate::kmsg::Log;
use crate::plan::{self, WindowPlan};
use anyhow::{anyhow, bail, Result};
use clap::Args;
use std::io::Write;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Settings of a window (separated by commas):
  size=SIZE         a multiple of 4K; required, here or after the name
  offset=SIZE       where in the device it starts; default: right after the window before it
  memory=KIND       pages (default), contiguous, dma, physical
  cache=MODE        cached (default), writecombine, noncached
  access=MODE       rw (default), ro
  address=SIZE      the physical address; implies memory=physical
  device=ADDRESS    the PCI device that must reach it (0000:00:04.0); implies memory=dma
  node=NUMBER       the NUMA node that the memory is of; any (default)
  fill=BYTE         the initial value of its bytes, 0 to 255
  track=1           stores through mappings are noticed: see `chrmem changes`

Examples:
  chrmem create camera header:4K frames:16M,offset=16M,memory=contiguous
  chrmem create bar registers:4K,address=0xfebd1000,cache=noncached";

/// What can be typed after `chrmem create`.
#[derive(Args)]
pub(crate) struct Create {
    /// Name of the device: /dev/chrmem-NAME
    #[arg(value_parser = plan::name)]
    name: String,
    /// A window: its name, its size, and settings
    #[arg(value_name = "WINDOW:SIZE[,KEY=VALUE]...", required = true)]
    windows: Vec<WindowPlan>,
}

pub(crate) fn run(arguments: &Create, out: &mut impl Write) -> Result<()> {
    let name = &arguments.name;
    for (index, window) in arguments.windows.iter().enumerate() {
        let before = &arguments.windows[..index];
        if before.iter().any(|other| other.name == window.name) {
            bail!("two windows are called {}", window.name);
        }
    }
    let folder = Tree::open()?.device(name);
    check_free(&folder)?;
    let log = Log::from_now();
    if let Err(error) = folder.make() {
        // Somebody else may have been faster.
        check_free(&folder)?;
        return Err(explain(error, &folder, log));
    }
    if let Err(error) = build(&folder, &arguments.windows) {
        let error = explain(error, &folder, log);
        return Err(match folder.remove() {
            Ok(()) => error,
            Err(rest) => hint::with(error, format!("`chrmem destroy {name}` later: {rest:#}")),
        });
    }
    writeln!(out, "/dev/{}", folder.node())?;
    Ok(())
}

/// Makes the windows, then the device.
fn build(folder: &Folder, windows: &[WindowPlan]) -> Result<()> {
    for window in windows {
        folder.make_window(&window.name)?;
        for (setting, value) in &window.settings {
            folder.set(&window.name, setting, value)?;
        }
    }
    folder.set_live(true)
}

/// An error if the name is taken.
fn check_free(folder: &Folder) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let name = folder.name();
    Err(hint::with(
        anyhow!("there is a device `{name}` already"),
        format!("choose another name, or `chrmem destroy {name}` first"),
    ))
}

/// The same error, with what the kernel log says about it.
fn explain(error: anyhow::Error, folder: &Folder, log: Option<Log>) -> anyhow::Error {
    let lines = log.map(|log| log.of(&folder.node())).unwrap_or_default();
    if lines.is_empty() {
        return error;
    }
    anyhow!("{error:#}: {}", lines.join("; "))
}
