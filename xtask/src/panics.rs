// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the driver could panic: each symbol of its module that says so must be on a list, with the reason why it can't.

use std::path::Path;

use anyhow::{bail, Result};
use fs_err as fs;

use crate::root::Bind;
use crate::setup::Lab;
use crate::workspace;

/// The list: lines of `SUBSTRING REASON`.
const LIST: &str = "driver/panics.txt";

/// Compares the module in `output` with the list.
pub(crate) fn check(lab: &Lab, output: &Path) -> Result<()> {
    let binds = [Bind::read_only(output, "/run/chrmem/output")];
    let symbols = lab
        .root
        .command(&binds, ["nm", "/run/chrmem/output/chrmem.ko"])
        .read()?;
    let list = fs::read_to_string(workspace::dir().join(LIST)).unwrap_or_default();
    let faults = compare(&symbols, &list);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// What is in one and not in the other.
fn compare(symbols: &str, list: &str) -> Vec<String> {
    // What panics is in the kernel: a symbol that the module does not define.
    let panics: Vec<_> = symbols
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("U "))
        .filter(|symbol| {
            // Rust's panics for a slice or a `None` are named after what failed.
            symbol.contains("panic") || symbol.starts_with("_R") && symbol.contains("_fail")
        })
        .collect();
    let entries: Vec<_> = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .collect();
    let unlisted = panics
        .iter()
        .filter(|symbol| !entries.iter().any(|(part, _)| symbol.contains(part)))
        .map(|symbol| format!("not on the list ({LIST}): {symbol}"));
    let stale = entries
        .iter()
        .filter(|(part, _)| !panics.iter().any(|symbol| symbol.contains(part)))
        .map(|(part, _)| format!("on the list, but not in the module: {part}"));
    let unreasoned = entries
        .iter()
        .filter(|(_, reason)| reason.trim().is_empty())
        .map(|(part, _)| format!("no reason: {part}"));
    unlisted.chain(stale).chain(unreasoned).collect()
}

#[cfg(test)]
mod tests {
    use super::compare;

    const SYMBOLS: &str =
        "                 U _RNv4core9panicking18panic_bounds_check\n0000000000000010 t chrmem_open\n";

    #[test]
    fn every_panic_needs_a_reason() {
        assert!(compare(
            SYMBOLS,
            "# why\n\npanic_bounds_check the index is a constant\n"
        )
        .is_empty());
        assert_eq!(compare(SYMBOLS, "").len(), 1);
        assert_eq!(
            compare(SYMBOLS, "panic_bounds_check\n"),
            ["no reason: panic_bounds_check"]
        );
    }

    #[test]
    fn functions_of_the_driver_do_not_panic() {
        let symbols = "0000000000000010 t _RNvNtCs1_6chrmem5folio15has_failed_page\n";
        assert_eq!(compare(symbols, ""), [""; 0]);
    }

    #[test]
    fn an_entry_that_is_no_longer_true_goes() {
        let faults = compare("", "panic_bounds_check the index is a constant\n");
        assert_eq!(
            faults,
            ["on the list, but not in the module: panic_bounds_check"]
        );
    }
}
