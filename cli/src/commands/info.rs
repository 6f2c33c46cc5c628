// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem info`

use crate::describe::{or_dash, Description};
use crate::json;
use crate::node::Device;
use crate::size::Exact;
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// What can be typed after `chrmem info`.
#[derive(Args)]
pub(crate) struct Info {
    #[command(flatten)]
    device: Device,
    /// Print JSON: numbers are bytes
    #[arg(long)]
    json: bool,
}

/// The device as JSON.
#[derive(Serialize)]
struct Shown {
    node: PathBuf,
    #[serde(flatten)]
    description: Description,
}

pub(crate) fn run(arguments: &Info, out: &mut impl Write) -> Result<()> {
    let description = Description::of(&arguments.device.open_read_only()?)?;
    if arguments.json {
        let node = arguments.device.path();
        return json::print(&Shown { node, description }, out);
    }
    writeln!(out, "version     {}", description.version)?;
    writeln!(out, "size        {}", Exact(description.size))?;
    writeln!(out, "generation  {}", description.generation)?;
    writeln!(out, "mappings    {}", or_dash(description.mapping_count))?;
    writeln!(out, "windows     {}", description.windows.len())?;
    writeln!(out, "\n{}", description.table().trim_fmt())?;
    Ok(())
}
