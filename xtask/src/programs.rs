// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds the programs that run in the guest. They are the host's: Debian's newer C library runs them.

use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{ensure, Context, Result};
use cargo_metadata::Message;

use crate::cache::{self, Lock};
use crate::progress::Step;
use crate::workspace;

/// The version of `fsx` on crates.io.
const FSX: &str = "0.3.2";

/// The programs that run in the guest.
pub(crate) struct Programs {
    /// What is found by its name.
    pub(crate) commands: Vec<PathBuf>,
    /// The library's examples.
    pub(crate) examples: Vec<PathBuf>,
}

/// Builds the program `name` of a package; `stderr` says whether cargo may speak.
fn build(package: &str, name: &str, stderr: bool) -> Result<PathBuf> {
    let step = Step::new(format!("compiling {name}"), None);
    let built = executables(package, &[], stderr)?;
    step.done();
    let found = built
        .into_iter()
        .find(|path| path.file_name().is_some_and(|file| file == name));
    found.with_context(|| format!("{package} has no program `{name}`"))
}

/// Builds a package, or what `which` says of it: the programs that came out.
fn executables(package: &str, which: &[&str], stderr: bool) -> Result<Vec<PathBuf>> {
    let args = [
        "build",
        "--quiet",
        "--package",
        package,
        "--message-format=json-render-diagnostics",
    ];
    let args = args.iter().chain(which);
    let cargo = duct::cmd(workspace::cargo(), args)
        .dir(workspace::dir())
        .stdin_null()
        .unchecked();
    let reader = if stderr { cargo } else { cargo.stderr_null() }.reader()?;
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
    ensure!(status.success(), "{package} does not build");
    Ok(built)
}

/// The command line, `chrmem`.
pub(crate) fn chrmem() -> Result<PathBuf> {
    build("chrmem-cli", "chrmem", true)
}

/// The command line as it is installed: what it costs by itself must not be in what it measures.
pub(crate) fn optimized_chrmem() -> Result<PathBuf> {
    let step = Step::new("compiling chrmem", None);
    let built = executables("chrmem-cli", &["--release"], true)?;
    step.done();
    built
        .into_iter()
        .next()
        .context("chrmem-cli has no program")
}

/// The VM tests, `chrmem-vm-tests`.
pub(crate) fn tests() -> Result<PathBuf> {
    build("chrmem-tests-vm", "chrmem-vm-tests", true)
}

/// Where `fsx` is, or will be.
fn fsx_path() -> Result<PathBuf> {
    let dir = format!("tools/fsx-{FSX}/bin/fsx");
    Ok(cache::dir()?.join(dir))
}

/// `fsx`, which compares what a file does with a model of it. It is only ever run: its licence is not ours.
pub(crate) fn fsx() -> Result<PathBuf> {
    let path = fsx_path()?;
    let _lock = Lock::exclusive(&cache::dir()?.join("tools/lock"), "compiling fsx")?;
    if !path.exists() {
        let step = Step::new(format!("compiling fsx {FSX}"), None);
        let root = cache::dir()?.join(format!("tools/fsx-{FSX}"));
        duct::cmd!(
            workspace::cargo(),
            "install",
            "--quiet",
            "--locked",
            "--version",
            FSX,
            "--root",
            root,
            "fsx"
        )
        .stdin_null()
        .run()
        .context("fsx does not build")?;
        step.done();
    }
    Ok(path)
}

/// The library's examples.
pub(crate) fn examples() -> Result<Vec<PathBuf>> {
    let step = Step::new("compiling the examples", None);
    let built = executables("chrmem", &["--examples"], true)?;
    step.done();
    Ok(built)
}

/// The command line and the examples, and the VM tests if they build: a run that is not about them does without.
pub(crate) fn all() -> Result<Programs> {
    let mut commands = vec![chrmem()?];
    commands.extend(Some(fsx_path()?).filter(|path| path.exists()));
    match build("chrmem-tests-vm", "chrmem-vm-tests", false) {
        Ok(tests) => commands.push(tests),
        Err(error) => eprintln!("lab: going on without the VM tests: {error:#}"),
    }
    Ok(Programs {
        commands,
        examples: examples()?,
    })
}
