// SPDX-License-Identifier: MIT OR Apache-2.0

//! Licences: every source file names its own, their texts are here, and dependencies allow what ours allow.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{bail, Result};
use fs_err as fs;
use spdx::{Expression, ParseMode};

use crate::workspace;

/// Where the texts are, one file a licence.
const TEXTS: &str = "LICENSES";

/// The licences that a dependency may have.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks the files of this project.
pub(crate) fn own() -> Result<()> {
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for file in workspace::files()? {
        let Ok(text) = fs::read_to_string(workspace::dir().join(&file)) else {
            continue;
        };
        if !is_source(&file, &text) {
            continue;
        }
        match header(&text) {
            Some(expression) => used.extend(names(expression)),
            None => faults.push(format!(
                "{file}: no SPDX-License-Identifier in its first lines"
            )),
        }
    }
    let mut texts = BTreeSet::new();
    for entry in fs::read_dir(workspace::dir().join(TEXTS))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        texts.insert(name.trim_end_matches(".txt").to_owned());
    }
    faults.extend(
        used.difference(&texts)
            .map(|name| format!("{TEXTS} lacks {name}.txt")),
    );
    faults.extend(
        texts
            .difference(&used)
            .map(|name| format!("{TEXTS}/{name}.txt is the licence of no file")),
    );
    finish(&faults)
}

/// Checks what cargo compiles from elsewhere.
pub(crate) fn dependencies() -> Result<()> {
    let packages = workspace::metadata(true)?.packages;
    let faults: Vec<_> = packages
        .iter()
        .filter(|package| {
            package.source.is_some() && !package.license.as_deref().is_some_and(is_permissive)
        })
        .map(|package| {
            format!(
                "{} {}: {:?}",
                package.name, package.version, package.license
            )
        })
        .collect();
    finish(&faults)
}

fn finish(faults: &[String]) -> Result<()> {
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Whether a file is one that needs a header: by its name, or by being a script.
fn is_source(file: &str, text: &str) -> bool {
    let path = Path::new(file);
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    ["rs", "c", "h", "sh", "py", "js", "css"].contains(&ending)
        || ["Makefile", "Kbuild"].contains(&name)
        || text.starts_with("#!/")
}

/// The licence that a file's first lines name.
fn header(text: &str) -> Option<&str> {
    let line = text
        .lines()
        .take(3)
        .find_map(|line| line.split_once("SPDX-License-Identifier:"))?
        .1;
    Some(line.trim().trim_end_matches("*/").trim())
}

/// The licences and exceptions in an expression.
pub(crate) fn names(expression: &str) -> impl Iterator<Item = String> + '_ {
    expression
        .split([' ', '(', ')'])
        .filter(|word| !word.is_empty() && !["AND", "OR", "WITH"].contains(word))
        .map(|word| word.trim_end_matches("-only").to_owned())
}

/// Whether one may choose a permissive licence by this expression.
fn is_permissive(expression: &str) -> bool {
    Expression::parse_mode(expression, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|licence| {
            licence
                .license
                .id()
                .is_some_and(|id| PERMISSIVE.contains(&id.name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{header, is_permissive, names};

    #[test]
    fn one_permissive_choice_is_enough() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "GPL-2.0 OR MIT",
        ] {
            assert!(is_permissive(good), "{good}");
        }
        assert!(is_permissive(
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"
        ));
        for bad in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "nonsense"] {
            assert!(!is_permissive(bad), "{bad}");
        }
    }

    #[test]
    fn headers_are_read_in_every_comment_style() {
        assert_eq!(
            header("#!/bin/sh\n# SPDX-License-Identifier: MIT\n"),
            Some("MIT")
        );
        assert_eq!(
            header("/* SPDX-License-Identifier: GPL-2.0 */\n"),
            Some("GPL-2.0")
        );
        assert_eq!(header("//! no\n"), None);
        let all: Vec<_> = names("(GPL-2.0 WITH Linux-syscall-note) OR MIT").collect();
        assert_eq!(all, ["GPL-2.0", "Linux-syscall-note", "MIT"]);
    }
}
