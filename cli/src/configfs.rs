// SPDX-License-Identifier: MIT OR Apache-2.0

//! Devices made at run time: the driver's folder in configfs.

use crate::{hint, sysfs};
use anyhow::{anyhow, Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where configfs belongs.
const MOUNT: &str = "/sys/kernel/config";

/// The driver's folder in it: a folder for each device.
const ROOT: &str = "/sys/kernel/config/chrmem";

/// All devices made at run time.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The driver's folder, if there is one.
    pub(crate) fn find() -> Option<Self> {
        let root = PathBuf::from(ROOT);
        root.is_dir().then_some(Self { root })
    }

    /// The driver's folder.
    pub(crate) fn open() -> Result<Self> {
        if let Some(tree) = Self::find() {
            return Ok(tree);
        }
        sysfs::check_loaded()?;
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let error = anyhow!("there is no {ROOT}");
        Err(match is_mounted(&mounts) {
            true => hint::with(error, "`chrmem doctor` finds out why"),
            false => hint::with(
                error,
                format!("mount configfs: `sudo mount -t configfs none {MOUNT}`"),
            ),
        })
    }

    /// The folder of the device `name`, there or not.
    pub(crate) fn device(&self, name: &str) -> Folder {
        Folder {
            path: self.root.join(name),
            name: name.to_owned(),
        }
    }

    /// The folders that there are, by name.
    pub(crate) fn devices(&self) -> Result<Vec<Folder>> {
        Ok(names_in(&self.root)?
            .iter()
            .map(|name| self.device(name))
            .collect())
    }
}

/// The folder of one device.
pub(crate) struct Folder {
    path: PathBuf,
    name: String,
}

impl Folder {
    /// The name of the device.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name of its node.
    pub(crate) fn node(&self) -> String {
        format!("chrmem-{}", self.name)
    }

    /// Whether there is such a folder.
    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Whether the device is built.
    pub(crate) fn is_live(&self) -> Result<bool> {
        let path = self.path.join("live");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim_end() == "1")
    }

    /// The names of its windows.
    pub(crate) fn windows(&self) -> Result<Vec<String>> {
        names_in(&self.path.join("windows"))
    }

    /// Makes the folder.
    pub(crate) fn make(&self) -> Result<()> {
        make(&self.path)
    }

    /// Makes the folder of a window.
    pub(crate) fn make_window(&self, window: &str) -> Result<()> {
        make(&self.path.join("windows").join(window))
    }

    /// Sets something of a window.
    pub(crate) fn set(&self, window: &str, setting: &str, value: &str) -> Result<()> {
        let path = self.path.join("windows").join(window).join(setting);
        fs::write(&path, value)
            .map_err(|error| refused(format!("write {value} to {}", path.display()), error))
    }

    /// Builds the device, or destroys it.
    pub(crate) fn set_live(&self, live: bool) -> Result<()> {
        let (value, tried) = if live {
            ("1", "build")
        } else {
            ("0", "destroy")
        };
        let path = self.path.join("live");
        fs::write(path, value).map_err(|error| refused(format!("{tried} {}", self.name), error))
    }

    /// Removes the folder and the windows in it.
    pub(crate) fn remove(&self) -> Result<()> {
        for window in self.windows()? {
            remove(&self.path.join("windows").join(window))?;
        }
        remove(&self.path)
    }
}

/// Whether configfs is among the mounts where it belongs.
pub(crate) fn is_mounted(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(MOUNT) && words.next() == Some("configfs")
    })
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(|error| refused(format!("make {}", path.display()), error))
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_dir(path).map_err(|error| refused(format!("remove {}", path.display()), error))
}

/// The error of a call that was to do `tried`.
fn refused(tried: String, error: std::io::Error) -> anyhow::Error {
    // The driver refuses some settings to root as well.
    let denied = error.kind() == ErrorKind::PermissionDenied && !hint::is_root();
    let error = anyhow::Error::new(error).context(format!("cannot {tried}"));
    if denied {
        hint::with(error, "configfs belongs to root: try with sudo")
    } else {
        error
    }
}

/// The names of the folders in a folder, in order.
fn names_in(path: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot list {}", path.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(path).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_type().with_context(context)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configfs_is_found_among_the_mounts() {
        let with = "proc /proc proc rw 0 0\nconfigfs /sys/kernel/config configfs rw 0 0\n";
        assert!(is_mounted(with));
        assert!(!is_mounted("proc /proc proc rw 0 0\n"));
        assert!(!is_mounted("tmpfs /sys/kernel/config tmpfs rw 0 0\n"));
        assert!(!is_mounted("configfs /elsewhere configfs rw 0 0\n"));
    }
}
