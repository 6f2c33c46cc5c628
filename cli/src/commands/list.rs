// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem list`

use crate::configfs::{Folder, Tree};
use crate::describe::{or_dash, table, Description};
use crate::size::Exact;
use crate::{json, sysfs};
use anyhow::Result;
use clap::Args;
use comfy_table::CellAlignment::{Left, Right};
use serde::Serialize;
use std::io::Write;

/// What can be typed after `chrmem list`.
#[derive(Args)]
pub(crate) struct List {
    /// Print JSON: numbers are bytes
    #[arg(long)]
    json: bool,
}

/// A device in the list.
#[derive(Serialize)]
struct Listed {
    /// Its node; `None` if it is a folder in configfs that is not live.
    node: Option<String>,
    /// Its name in configfs; `None` if it came with the module.
    name: Option<String>,
    /// What it tells of itself, if it can be asked.
    #[serde(flatten)]
    description: Option<Description>,
    /// Why it cannot be asked, or how it fares.
    problem: Option<String>,
}

pub(crate) fn run(arguments: &List, out: &mut impl Write) -> Result<()> {
    sysfs::check_loaded()?;
    let devices = devices()?;
    if arguments.json {
        return json::print(&devices, out);
    }
    let mut table = table(&[
        ("DEVICE", Left),
        ("SIZE", Right),
        ("GENERATION", Right),
        ("MAPPINGS", Right),
        ("WINDOWS", Left),
    ]);
    for device in &devices {
        let known = device.description.as_ref();
        table.add_row([
            device
                .node
                .clone()
                .or(device.name.clone())
                .unwrap_or_default(),
            or_dash(known.map(|it| Exact(it.size))),
            or_dash(known.map(|it| it.generation)),
            or_dash(known.and_then(|it| it.mappings)),
            match (known, &device.problem) {
                (_, Some(problem)) => format!("({problem})"),
                (Some(known), None) => known.windows_in_a_line(),
                (None, None) => String::new(),
            },
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

/// All devices: those with a node, and those that are prepared only.
fn devices() -> Result<Vec<Listed>> {
    // Whoever may not look into configfs still sees the nodes.
    let folders = Tree::find()
        .and_then(|tree| tree.devices().ok())
        .unwrap_or_default();
    let mut listed: Vec<_> = sysfs::nodes()?
        .into_iter()
        .map(|node| live(&node, &folders))
        .collect();
    for folder in &folders {
        if !folder.is_live().unwrap_or(true) {
            listed.push(prepared(folder));
        }
    }
    Ok(listed)
}

/// A device that has a node.
fn live(node: &str, folders: &[Folder]) -> Listed {
    let path = format!("/dev/{node}");
    let asked = chrmem::Device::open_read_only(&path).and_then(|device| Description::of(&device));
    let (description, problem) = match asked {
        Ok(description) => (Some(description), None),
        Err(error) => (None, Some(why(&error))),
    };
    Listed {
        node: Some(path),
        name: folders
            .iter()
            .find(|folder| folder.node() == node)
            .map(|folder| folder.name().to_owned()),
        description,
        problem,
    }
}

/// A device that is not there yet.
fn prepared(folder: &Folder) -> Listed {
    let windows = folder.windows().map_or(0, |windows| windows.len());
    Listed {
        node: None,
        name: Some(folder.name().to_owned()),
        description: None,
        problem: Some(format!(
            "not live; {windows} window{} prepared",
            if windows == 1 { "" } else { "s" }
        )),
    }
}

/// The kernel's reason, in the words of the system.
fn why(error: &chrmem::Error) -> String {
    match error.errno() {
        Some(errno) => std::io::Error::from(errno).kind().to_string(),
        None => error.to_string(),
    }
}
