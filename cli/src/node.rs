// SPDX-License-Identifier: MIT OR Apache-2.0

//! Devices as they are called: by a path or by a bare name.

use clap::Args;
use std::path::{Path, PathBuf};

/// The device that a command is about.
#[derive(Args)]
pub(crate) struct Device {
    /// The device: its node, or a name such as chrmem0, or camera for /dev/chrmem-camera
    #[arg(value_name = "DEVICE", default_value = "/dev/chrmem0")]
    name: String,
}

impl Device {
    /// Opens the device for reading and writing.
    pub(crate) fn open(&self) -> chrmem::Result<chrmem::Device> {
        chrmem::Device::open(self.path())
    }

    /// Opens the device for reading.
    pub(crate) fn open_read_only(&self) -> chrmem::Result<chrmem::Device> {
        chrmem::Device::open_read_only(self.path())
    }

    /// Its node.
    pub(crate) fn path(&self) -> PathBuf {
        path(&self.name)
    }
}

/// The node of the device that is called `name`.
pub(crate) fn path(name: &str) -> PathBuf {
    path_in(Path::new("/dev"), name)
}

/// The same, with the nodes in `dev`. What has a slash in it is a path. Everything else is the name
/// of a device that was created, or of a node: whichever there is, and the likelier one if there
/// is neither.
fn path_in(dev: &Path, name: &str) -> PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let node = dev.join(name);
    let created = dev.join(format!("chrmem-{name}"));
    let (first, second) = if name.starts_with("chrmem") {
        (node, created)
    } else {
        (created, node)
    };
    if !first.exists() && second.exists() {
        second
    } else {
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_bare_name_finds_its_node() {
        let dev = tempfile::tempdir().expect("a folder");
        for node in [
            "chrmem0",
            "chrmem-camera",
            "chrmem-null",
            "null",
            "by_hand",
            "chrmem-chrmem9",
        ] {
            File::create(dev.path().join(node)).expect("a file");
        }
        for (name, node) in [
            ("chrmem0", "chrmem0"),
            ("camera", "chrmem-camera"),
            ("chrmem-camera", "chrmem-camera"),
            ("null", "chrmem-null"),
            ("by_hand", "by_hand"),
            ("chrmem9", "chrmem-chrmem9"),
            ("chrmem1", "chrmem1"),
            ("nowhere", "chrmem-nowhere"),
        ] {
            assert_eq!(path_in(dev.path(), name), dev.path().join(node), "{name}");
        }
    }

    #[test]
    fn what_has_a_slash_is_a_path() {
        assert_eq!(path("./camera"), Path::new("./camera"));
        assert_eq!(path("/dev/char/243:0"), Path::new("/dev/char/243:0"));
    }
}
