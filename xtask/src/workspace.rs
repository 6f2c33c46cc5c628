// SPDX-License-Identifier: MIT OR Apache-2.0

//! The checkout that this program works on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};

/// The top directory of the checkout.
pub(crate) fn dir() -> PathBuf {
    // cargo sets it for what it runs; a program started by hand works on the checkout that it was built from.
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package)
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where cargo keeps what it downloads and unpacks.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")
}

/// What cargo knows of the workspace, with or without its dependencies.
pub(crate) fn metadata(dependencies: bool) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command
        .cargo_path(cargo())
        .manifest_path(dir().join("Cargo.toml"));
    if !dependencies {
        command.no_deps();
    }
    command.exec().context("cannot read the workspace")
}

/// Where this checkout's build products go.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(metadata(false)?.target_directory.into())
}

/// The files of the project, which are those that git knows.
pub(crate) fn files() -> Result<Vec<String>> {
    let list = duct::cmd!(
        "git",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard"
    )
    .dir(dir())
    .read();
    Ok(list
        .context("cannot list the project's files")?
        .split_terminator('\0')
        .map(String::from)
        .collect())
}
