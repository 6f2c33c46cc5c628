// SPDX-License-Identifier: MIT OR Apache-2.0

//! What sysfs tells of the driver.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The driver's class: an entry for each device.
const CLASS: &str = "/sys/class/chrmem";

/// Whether the driver is loaded.
pub(crate) fn is_loaded() -> bool {
    Path::new("/sys/module/chrmem").exists()
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
