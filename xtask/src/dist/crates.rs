// SPDX-License-Identifier: MIT OR Apache-2.0

//! The crates, as they would be published. Each is compiled from what is in its archive.

use std::path::PathBuf;

use anyhow::{ensure, Context, Result};
use duct::cmd;
use fs_err as fs;

use crate::progress::{logged, Step};
use crate::workspace;

/// Those that others may use.
const CRATES: &[&str] = &["chrmem-uapi", "chrmem", "chrmem-cli"];

/// Makes the archives. A warning of cargo's is a fault.
pub(super) fn make() -> Result<Vec<PathBuf>> {
    let step = Step::new("packing and compiling the crates", None);
    let mut args = vec!["package", "--locked", "--allow-dirty"];
    for name in CRATES {
        args.extend(["--package", name]);
    }
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
    let metadata = workspace::metadata(false)?;
    CRATES
        .iter()
        .map(|name| {
            let package = metadata
                .packages
                .iter()
                .find(|package| package.name.as_str() == *name)
                .context("a crate that the workspace lacks")?;
            let file = format!("{name}-{}.crate", package.version);
            let made = workspace::target()?.join("package").join(&file);
            let kept = super::folder()?.join(&file);
            fs::copy(made, &kept)?;
            Ok(kept)
        })
        .collect()
}
