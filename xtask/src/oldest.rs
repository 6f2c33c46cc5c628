// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether all crates compile with the Rust that the workspace promises, which is the one that Debian 13 has.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use duct::cmd;
use fs_err as fs;

use crate::arch::Arch;
use crate::progress::{logged, Step};
use crate::root::Bind;
use crate::tree::{Recipe, Tree};
use crate::{recipe, workspace};

/// What the tree sees.
const SOURCE: &str = "/run/chrmem/source";
const CRATES: &str = "/run/chrmem/crates";
const HOME: &str = "/run/chrmem/home";
const TARGET: &str = "/run/chrmem/target";

/// Has cargo look for crates where the tree has them: it need not reach a registry.
const CONFIG: &str = r#"[source.crates-io]
replace-with = "crates"
[source.crates]
directory = "/run/chrmem/crates"
"#;

/// Checks every crate with a Debian's own cargo and rustc.
pub(crate) fn check() -> Result<()> {
    let tree = Tree::get(&Recipe {
        purpose: "with the oldest Rust",
        arch: Arch::native(),
        packages: &["cargo"],
        kernel: None,
    })?;
    let dir = workspace::target()?.join("oldest");
    let (home, target) = (dir.join("home"), dir.join("target"));
    fs::create_dir_all(&home)?;
    fs::create_dir_all(&target)?;
    fs::write(home.join("config.toml"), CONFIG)?;
    let crates = crates(&dir)?;
    let (source, log) = (workspace::dir(), dir.join("log"));
    let binds = [
        Bind::read_only(&source, SOURCE),
        Bind::read_only(&crates, CRATES),
        Bind::writable(&home, HOME),
        Bind::writable(&target, TARGET),
    ];
    let has = tree.root.command(&binds, ["rustc", "--version"]).read()?;
    let promised = promised()?;
    ensure!(
        has.starts_with(&format!("rustc {promised}.")),
        "the workspace promises Rust {promised}, and Debian has {has}"
    );
    let (home, target) = (
        format!("CARGO_HOME={HOME}"),
        format!("CARGO_TARGET_DIR={TARGET}"),
    );
    let manifest = format!("{SOURCE}/Cargo.toml");
    let argv = [
        "env",
        &home,
        &target,
        "cargo",
        "check",
        "--offline",
        "--locked",
        "--workspace",
        "--all-targets",
        "--manifest-path",
        &manifest,
    ];
    let step = Step::new(format!("compiling all crates with {}", has.trim()), None);
    logged(&tree.root.command(&binds, argv), &log, |_| {})?;
    step.done();
    Ok(())
}

/// The version that the workspace promises.
fn promised() -> Result<String> {
    let all = workspace::metadata(false)?.packages;
    let own = all.iter().find(|package| package.name == "xtask");
    let version = own.and_then(|package| package.rust_version.as_ref());
    let version = version.context("the workspace has no rust-version")?;
    Ok(format!("{}.{}", version.major, version.minor))
}

/// The crates that the workspace rests on, unpacked; again when these are others.
fn crates(dir: &Path) -> Result<PathBuf> {
    let lock = fs::read(workspace::dir().join("Cargo.lock"))?;
    let (crates, stamp) = (dir.join("crates"), dir.join("crates-of"));
    let key = recipe::digest(&lock);
    if !fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        let vendor = cmd!(
            workspace::cargo(),
            "vendor",
            "--quiet",
            "--locked",
            "--versioned-dirs",
            &crates
        );
        logged(
            &vendor.dir(workspace::dir()),
            &dir.join("vendor.log"),
            |_| {},
        )?;
        fs::write(&stamp, key)?;
    }
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::promised;

    #[test]
    fn what_people_read_says_the_same() {
        let said = format!("Rust {}", promised().unwrap());
        for (name, text) in [
            ("README.md", include_str!("../../README.md")),
            ("docs/README.md", include_str!("../../docs/README.md")),
        ] {
            // A line may end between the words.
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&said), "{name} does not say `{said}`");
        }
    }
}
