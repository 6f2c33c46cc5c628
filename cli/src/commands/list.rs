// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem list`

use crate::configfs::{Folder, Tree};
use crate::describe::{in_a_line, or_dash, table, Description, Window};
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
    known: Known,
    /// Why it cannot be asked, or how it fares.
    problem: Option<String>,
}

/// The keys of a description, all of which are there, whether a device can be asked or not.
#[derive(Default, Serialize)]
struct Known {
    version: Option<u32>,
    size: Option<u64>,
    generation: Option<u64>,
    mapping_count: Option<u64>,
    windows: Option<Vec<Window>>,
}

impl From<Description> for Known {
    fn from(it: Description) -> Self {
        Self {
            version: Some(it.version),
            size: Some(it.size),
            generation: Some(it.generation),
            mapping_count: it.mapping_count,
            windows: Some(it.windows),
        }
    }
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
        let known = &device.known;
        table.add_row([
            device
                .node
                .clone()
                .or(device.name.clone())
                .unwrap_or_default(),
            or_dash(known.size.map(Exact)),
            or_dash(known.generation),
            or_dash(known.mapping_count),
            match &device.problem {
                Some(problem) => format!("({problem})"),
                None => in_a_line(known.windows.as_deref().unwrap_or_default()),
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
    let (known, problem) = match asked {
        Ok(description) => (description.into(), None),
        Err(error) => (Known::default(), Some(why(&error))),
    };
    Listed {
        node: Some(path),
        name: folders
            .iter()
            .find(|folder| folder.node() == node)
            .map(|folder| folder.name().to_owned()),
        known,
        problem,
    }
}

/// A device that is not there yet.
fn prepared(folder: &Folder) -> Listed {
    let windows = folder.windows().map_or(0, |windows| windows.len());
    Listed {
        node: None,
        name: Some(folder.name().to_owned()),
        known: Known::default(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::check;

    #[test]
    fn a_device_that_cannot_be_asked_has_all_keys() {
        let listed = Listed {
            node: None,
            name: Some("half".to_owned()),
            known: Known::default(),
            problem: Some("not live; 0 windows prepared".to_owned()),
        };
        let printed = serde_json::to_value([listed]).expect("JSON");
        check("list", &printed);
        assert!(printed[0]["size"].is_null());
    }
}
