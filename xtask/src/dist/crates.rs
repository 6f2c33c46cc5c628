// SPDX-License-Identifier: MIT OR Apache-2.0

//! The crates, as they would be published. Each is compiled from what is in its archive.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use cargo_metadata::Package;
use duct::cmd;
use fs_err as fs;

use crate::progress::{logged, Step};
use crate::{licences, workspace};

/// Those that others may use.
const CRATES: &[&str] = &["chrmem-uapi", "chrmem", "chrmem-cli"];

/// Makes the archives. A warning of cargo's is a fault.
pub(super) fn make() -> Result<Vec<PathBuf>> {
    let step = Step::new("packing and compiling the crates", None);
    let packages = packages()?;
    let target = workspace::target()?.join("packing");
    forget(&packages, &target)?;
    let args = arguments(["package", "--locked", "--allow-dirty"], &target);
    let log = super::folder()?.join("crates.log");
    let mut warnings = Vec::new();
    logged(
        &cmd(workspace::cargo(), args).dir(workspace::dir()),
        &log,
        |line| {
            if line.starts_with("warning") {
                warnings.push(line.to_owned());
            }
        },
    )?;
    ensure!(
        warnings.is_empty(),
        "cargo package: {}",
        warnings.join("; ")
    );
    step.done();
    packages
        .iter()
        .map(|package| {
            let made = target.join("package");
            whole(package, &made.join(unpacked(package)))?;
            let file = format!("{}.crate", unpacked(package));
            let kept = super::folder()?.join(&file);
            fs::copy(made.join(file), &kept)?;
            Ok(kept)
        })
        .collect()
}

/// What cargo knows of them.
fn packages() -> Result<Vec<Package>> {
    let all = workspace::metadata(false)?.packages;
    CRATES
        .iter()
        .map(|name| {
            let mut packages = all.iter();
            let package = packages.find(|package| package.name.as_str() == *name);
            package.cloned().context("a crate that the workspace lacks")
        })
        .collect()
}

/// The folder in an archive.
fn unpacked(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

/// The words that have cargo do something with these crates, in the folder `target`.
fn arguments<const N: usize>(words: [&str; N], target: &Path) -> Vec<OsString> {
    let mut args = words.map(OsString::from).to_vec();
    args.extend(["--target-dir".into(), target.into()]);
    for name in CRATES {
        args.extend(["--package".into(), name.into()]);
    }
    args
}

/// Removes what cargo unpacked and compiled of them to compile one with the other: it would take that again, whatever has changed
/// since, because the version has not.
fn forget(packages: &[Package], target: &Path) -> Result<()> {
    cmd(workspace::cargo(), arguments(["clean", "--quiet"], target))
        .dir(workspace::dir())
        .run()?;
    let Ok(registries) = fs::read_dir(workspace::cargo_home()?.join("registry/src")) else {
        return Ok(());
    };
    for registry in registries {
        let registry = registry?;
        // Those of a host's are called after it; this one has none.
        if !registry.file_name().to_string_lossy().starts_with('-') {
            continue;
        }
        for package in packages {
            let stale = registry.path().join(unpacked(package));
            if stale.exists() {
                fs::remove_dir_all(stale)?;
            }
        }
    }
    Ok(())
}

/// Whether the archive, unpacked in `dir`, has what its users are to find: a page about it, and the text of each licence.
fn whole(package: &Package, dir: &Path) -> Result<()> {
    let mut files = vec!["README.md".to_owned()];
    let licence = package.license.as_deref().unwrap_or_default();
    files.extend(licences::names(licence).map(|name| format!("LICENSES/{name}.txt")));
    for file in files {
        ensure!(
            dir.join(&file).is_file(),
            "the crate {} has no {file}",
            package.name
        );
    }
    Ok(())
}
