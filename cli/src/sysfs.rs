// SPDX-License-Identifier: MIT OR Apache-2.0

//! What sysfs tells of the driver.

use crate::hint;
use anyhow::{anyhow, Context, Result};
use rustix::fs::{major, minor, FileType, Stat};
use std::fs;
use std::path::Path;

/// The driver's class: an entry for each device.
const CLASS: &str = "/sys/class/chrmem";

/// Whether the driver is loaded.
pub(crate) fn is_loaded() -> bool {
    Path::new("/sys/module/chrmem").exists()
}

/// An error if the driver is not loaded.
pub(crate) fn check_loaded() -> Result<()> {
    if is_loaded() {
        return Ok(());
    }
    Err(hint::with(
        anyhow!("the module chrmem is not loaded"),
        "load it: `sudo modprobe chrmem` where it is installed, `sudo insmod chrmem.ko` where it was built",
    ))
}

/// Whether a file is the node of a device of the driver.
pub(crate) fn is_device(about: &Stat) -> bool {
    let (major, minor) = (major(about.st_rdev), minor(about.st_rdev));
    FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice
        && fs::read_link(format!("/sys/dev/char/{major}:{minor}"))
            .is_ok_and(|link| link.parent().is_some_and(|class| class.ends_with("chrmem")))
}

/// The names of the nodes, in natural order: 2 before 10.
pub(crate) fn nodes() -> Result<Vec<String>> {
    let entries = match fs::read_dir(CLASS) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list {CLASS}"))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {CLASS}"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    sort(&mut names);
    Ok(names)
}

/// Orders plain devices by number, and before all others.
fn sort(names: &mut [String]) {
    names.sort_by_cached_key(|name| {
        let number = name.strip_prefix("chrmem").and_then(|it| it.parse().ok());
        (number.unwrap_or(u64::MAX), name.clone())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_devices_come_first_by_number() {
        let mut names =
            ["chrmem-a", "chrmem10", "chrmem2", "chrmem-0", "chrmem0"].map(str::to_owned);
        sort(&mut names);
        assert_eq!(
            names,
            ["chrmem0", "chrmem2", "chrmem10", "chrmem-0", "chrmem-a"]
        );
    }
}
