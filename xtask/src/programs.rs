// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds the programs that run in the guest. They are the host's: Debian's newer C library runs them.

use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cargo_metadata::Message;

use crate::workspace;

/// The command line and the VM tests.
pub(crate) struct Programs {
    /// `chrmem`.
    pub(crate) chrmem: PathBuf,
    /// `chrmem-vm-tests`.
    pub(crate) tests: PathBuf,
}

/// Builds both.
pub(crate) fn build() -> Result<Programs> {
    let args = [
        "build",
        "--quiet",
        "--package=chrmem-cli",
        "--package=chrmem-tests-vm",
        "--message-format=json-render-diagnostics",
    ];
    let reader = duct::cmd(workspace::cargo(), args)
        .dir(workspace::dir())
        .unchecked()
        .reader()?;
    let mut built = Vec::new();
    for message in Message::parse_stream(BufReader::new(&reader)) {
        if let Message::CompilerArtifact(artifact) = message? {
            built.extend(artifact.executable.map(PathBuf::from));
        }
    }
    let status = reader
        .try_wait()?
        .context("cargo closed its output and goes on")?
        .status;
    anyhow::ensure!(status.success(), "the programs for the guest do not build");
    let find = |name: &str| {
        let found = built
            .iter()
            .find(|path| path.file_name().is_some_and(|file| file == name));
        found
            .cloned()
            .with_context(|| format!("the workspace builds no program `{name}`"))
    };
    Ok(Programs {
        chrmem: find("chrmem")?,
        tests: find("chrmem-vm-tests")?,
    })
}
