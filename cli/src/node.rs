// SPDX-License-Identifier: MIT OR Apache-2.0

//! Devices as they are called: by a path or by a bare name.

use crate::{hint, sysfs};
use anyhow::{Context, Result};
use chrmem::Errno;
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
    pub(crate) fn open(&self) -> Result<chrmem::Device> {
        open(&self.name)
    }

    /// Opens the device for reading.
    pub(crate) fn open_read_only(&self) -> Result<chrmem::Device> {
        open_read_only(&self.name)
    }

    /// Its node.
    pub(crate) fn path(&self) -> PathBuf {
        path(&self.name)
    }
}

/// The device that a command erases: the user has to name it.
#[derive(Args)]
pub(crate) struct NamedDevice {
    /// The device: its node, or a name such as chrmem0, or camera for /dev/chrmem-camera
    #[arg(value_name = "DEVICE")]
    name: String,
}

impl NamedDevice {
    /// Opens the device for reading and writing.
    pub(crate) fn open(&self) -> Result<chrmem::Device> {
        open(&self.name)
    }
}

/// Opens the device that is called `name` for reading and writing.
pub(crate) fn open(name: &str) -> Result<chrmem::Device> {
    chrmem::Device::open(path(name)).map_err(|error| explain(error, name))
}

/// Opens the device that is called `name` for reading.
pub(crate) fn open_read_only(name: &str) -> Result<chrmem::Device> {
    chrmem::Device::open_read_only(path(name)).map_err(|error| explain(error, name))
}

/// The node of the device that is called `name`, where containers find it: an absolute path without
/// symbolic links. An error if that is not a device; it need not be open to the user.
pub(crate) fn of_device(name: &str) -> Result<String> {
    let path = path(name);
    let node = std::fs::canonicalize(&path)
        .and_then(|node| Ok((rustix::fs::stat(&node)?, node)))
        .map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let tried = format!("find {}", path.display());
            explain(chrmem::Error::Refused { tried, errno }, name)
        });
    let (about, node) = node?;
    if !sysfs::is_device(&about) {
        let file = node.display().to_string();
        return Err(chrmem::Error::NotADevice { file }.into());
    }
    let text = node.to_str().map(str::to_owned);
    text.with_context(|| format!("{} is not UTF-8", node.display()))
}

/// The error of opening the device that is called `name`, with what to do about it.
fn explain(error: chrmem::Error, name: &str) -> anyhow::Error {
    let advice = match error.errno() {
        Some(Errno::NOENT) if !name.contains('/') && Path::new(name).exists() => {
            format!("a name without a slash is that of a device; the file here is `./{name}`")
        }
        Some(Errno::NOENT) => {
            "`chrmem list` shows the devices, `chrmem doctor` finds out why one is missing"
                .to_owned()
        }
        Some(Errno::ACCESS | Errno::PERM) => hint::denied().to_owned(),
        Some(Errno::NXIO) => {
            "there is no device behind this node: load the module, and compare the node's \
             major number (`ls -l`) with `grep chrmem_dev /proc/devices`"
                .to_owned()
        }
        _ => return error.into(),
    };
    hint::with(error, advice)
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
