// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem cdi`

use crate::{json, node, sysfs};
use anyhow::{bail, ensure, Result};
use clap::Args;
use serde::Serialize;
use std::io::Write;

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  sudo mkdir -p /etc/cdi; chrmem cdi | sudo tee /etc/cdi/chrmem.json
  podman run --device chrmem/device=chrmem-camera IMAGE
  docker run --device chrmem/device=all IMAGE";

/// The vendor and the class of devices, as container tools call them.
const KIND: &str = "chrmem/device";

/// The oldest version of the specification that has what is used here: parsers refuse newer ones.
const VERSION: &str = "0.3.0";

/// What can be typed after `chrmem cdi`.
#[derive(Args)]
pub(crate) struct Cdi {
    /// The devices to describe: nodes, or names such as camera for /dev/chrmem-camera [default: all]
    #[arg(value_name = "DEVICE")]
    devices: Vec<String>,
    /// Let containers open the devices read-only
    #[arg(long)]
    read_only: bool,
}

/// The specification of devices for containers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cdi_version: &'static str,
    kind: &'static str,
    devices: Vec<Entry>,
}

/// What can be asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    container_edits: Edits,
}

/// What a container gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Edits {
    device_nodes: Vec<Node>,
}

/// A device's node, the same inside as outside.
#[derive(Clone, Serialize)]
struct Node {
    path: String,
    permissions: &'static str,
}

pub(crate) fn run(arguments: &Cdi, out: &mut impl Write) -> Result<()> {
    let nodes = if arguments.devices.is_empty() {
        sysfs::check_loaded()?;
        let all = sysfs::nodes()?;
        ensure!(!all.is_empty(), "there are no devices");
        all.iter().map(|name| format!("/dev/{name}")).collect()
    } else {
        let mut paths = Vec::new();
        for name in &arguments.devices {
            let path = node::of_device(name)?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    };
    json::print(&spec(nodes, arguments.read_only)?, out)
}

/// Describes some nodes, each by itself, and all together as `all`.
fn spec(paths: Vec<String>, read_only: bool) -> Result<Spec> {
    let permissions = if read_only { "r" } else { "rw" };
    let mut all = Vec::new();
    let mut devices = Vec::new();
    for path in paths {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if !is_name(&name) || name == "all" {
            bail!("`{name}` is not a valid name of a CDI device");
        }
        ensure!(
            devices.iter().all(|it: &Entry| it.name != name),
            "two devices are called `{name}`"
        );
        let node = Node { path, permissions };
        all.push(node.clone());
        devices.push(Entry {
            name,
            container_edits: Edits {
                device_nodes: vec![node],
            },
        });
    }
    devices.push(Entry {
        name: "all".to_owned(),
        container_edits: Edits { device_nodes: all },
    });
    Ok(Spec {
        cdi_version: VERSION,
        kind: KIND,
        devices,
    })
}

/// Whether the specification allows a name: with a letter first in this version, and no punctuation last.
fn is_name(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_can_be_asked_for_and_all() {
        let paths = ["/dev/chrmem0", "/dev/chrmem-camera"].map(str::to_owned);
        let spec = spec(paths.into(), false).expect("good names");
        let value = serde_json::to_value(&spec).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "cdiVersion": "0.3.0",
                "kind": "chrmem/device",
                "devices": [
                    {"name": "chrmem0", "containerEdits": {"deviceNodes": [
                        {"path": "/dev/chrmem0", "permissions": "rw"}]}},
                    {"name": "chrmem-camera", "containerEdits": {"deviceNodes": [
                        {"path": "/dev/chrmem-camera", "permissions": "rw"}]}},
                    {"name": "all", "containerEdits": {"deviceNodes": [
                        {"path": "/dev/chrmem0", "permissions": "rw"},
                        {"path": "/dev/chrmem-camera", "permissions": "rw"}]}},
                ],
            })
        );
    }

    #[test]
    fn names_that_the_specification_forbids_are_refused() {
        for name in ["chrmem-a-", "chrmem-a.", "0", "", "all", "a b"] {
            assert!(spec(vec![format!("/dev/{name}")], true).is_err(), "{name}");
        }
    }
}
