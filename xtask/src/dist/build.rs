// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds the command as it is given to others.

use std::path::PathBuf;

use anyhow::{Context, Result};
use duct::cmd;

use crate::arch::Arch;
use crate::progress::{logged, Step};
use crate::{programs, workspace};

/// The command, built such that the same source gives the same bytes wherever the checkout is.
pub(crate) fn chrmem(arch: &Arch) -> Result<PathBuf> {
    let step = Step::new("compiling the command for others", None);
    let target = workspace::target()?.join("release-build");
    let home = workspace::cargo_home()?;
    let flags = [
        format!("--remap-path-prefix={}=/chrmem", workspace::dir().display()),
        format!("--remap-path-prefix={}=/cargo", home.display()),
        "-Cstrip=symbols".to_owned(),
    ];
    let dir = target.to_str().context("a path that is no text")?;
    let args = ["build", "--release", "--locked", "--package", "chrmem-cli"];
    let other = programs::target(arch)?;
    let args = args.into_iter().chain(["--target-dir", dir]);
    let cargo = programs::cargo(arch, args.chain(other.iter().map(String::as_str)))
        .dir(workspace::dir())
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    logged(&cargo, &target.with_extension("log"), |_| {})?;
    step.done();
    let built = match arch.is_foreign() {
        true => target.join(arch.target),
        false => target,
    };
    Ok(built.join("release/chrmem"))
}

/// The time that goes into all that is packed: that of the last commit, unless the environment sets one.
pub(crate) fn time() -> Result<String> {
    if let Ok(set) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(set);
    }
    cmd!("git", "log", "-1", "--format=%ct")
        .dir(workspace::dir())
        .read()
        .context("the time of the last commit")
}
