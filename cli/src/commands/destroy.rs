// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem destroy`

use crate::configfs::{Folder, Tree};
use crate::hint;
use anyhow::{anyhow, Result};
use clap::Args;

/// What can be typed after `chrmem destroy`.
#[derive(Args)]
pub(crate) struct Destroy {
    /// Name of the device, or its node
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(arguments: &Destroy) -> Result<()> {
    let tree = Tree::open()?;
    // All or none: a typing error is found before anything is gone.
    let mut folders: Vec<Folder> = Vec::new();
    for name in &arguments.names {
        let folder = find(&tree, name)?;
        if folders.iter().all(|it| it.name() != folder.name()) {
            folders.push(folder);
        }
    }
    for folder in folders {
        folder.set_live(false)?;
        folder.remove()?;
    }
    Ok(())
}

/// The folder of the device that is called `name`: `camera`, or its node, `chrmem-camera` or
/// `/dev/chrmem-camera`. A node's name goes before a device's, as in all other commands.
fn find(tree: &Tree, name: &str) -> Result<Folder> {
    let (node, device) = match name.strip_prefix("/dev/") {
        Some(node) => (node, None),
        None => (name, Some(name)),
    };
    [node.strip_prefix("chrmem-"), device]
        .into_iter()
        .flatten()
        .filter(|name| !name.is_empty() && !name.contains('/') && ![".", ".."].contains(name))
        .map(|name| tree.device(name))
        .find(Folder::exists)
        .ok_or_else(|| missing(node, name))
}

/// The error where there is no device to destroy.
fn missing(node: &str, name: &str) -> anyhow::Error {
    let number = node.strip_prefix("chrmem").unwrap_or_default();
    let advice = if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) {
        "what came with the module goes with it: `sudo rmmod chrmem`"
    } else {
        "`chrmem list` shows the devices that there are"
    };
    hint::with(
        anyhow!("there is no device `{name}` that was made by create"),
        advice,
    )
}
