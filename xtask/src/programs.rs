// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds the programs that run in the guest: on the host, for the guest's architecture. Debian's newer C library runs them.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use cargo_metadata::Message;

use crate::arch::Arch;
use crate::cache::{self, Lock};
use crate::progress::Step;
use crate::{host, kernel, workspace};

/// The version of `fsx` on crates.io.
const FSX: &str = "0.3.2";

/// The programs that run in the guest.
pub(crate) struct Programs {
    /// What is found by its name.
    pub(crate) commands: Vec<PathBuf>,
    /// The library's examples.
    pub(crate) examples: Vec<PathBuf>,
}

/// Builds the program `name` of a package for the kernel called `kernel`; `stderr` says whether cargo may speak.
fn build(arch: &Arch, kernel: &str, package: &str, name: &str, stderr: bool) -> Result<PathBuf> {
    let step = Step::new(format!("compiling {name}"), None);
    let built = executables_of(&workspace::dir(), arch, kernel, package, &[], stderr)?;
    step.done();
    let found = built
        .into_iter()
        .find(|path| path.file_name().is_some_and(|file| file == name));
    found.with_context(|| format!("{package} has no program `{name}`"))
}

/// Builds a package, or what `which` says of it: the programs that came out.
fn executables(arch: &Arch, package: &str, which: &[&str]) -> Result<Vec<PathBuf>> {
    let dir = workspace::dir();
    executables_of(&dir, arch, kernel::STOCK, package, which, true)
}

/// The same, of the workspace in `dir`, for the kernel called `kernel`.
fn executables_of(
    dir: &Path,
    arch: &Arch,
    kernel: &str,
    package: &str,
    which: &[&str],
    stderr: bool,
) -> Result<Vec<PathBuf>> {
    let args = [
        "build",
        "--quiet",
        "--package",
        package,
        "--message-format=json-render-diagnostics",
    ];
    let target = target(arch)?;
    let args = args.into_iter().chain(which.iter().copied());
    let args = args.chain(target.iter().map(String::as_str));
    let cargo = cargo(arch, args).dir(dir).stdin_null().unchecked();
    // The tests know the size of a page when they are compiled.
    let cargo = match kernel::page_size(kernel) {
        Some(size) => cargo.env("CHRMEM_PAGE_SIZE", size.to_string()),
        None => cargo,
    };
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

/// A run of cargo that compiles for an architecture.
pub(crate) fn cargo<'a>(arch: &Arch, args: impl IntoIterator<Item = &'a str>) -> duct::Expression {
    let cargo = duct::cmd(workspace::cargo(), args);
    if !arch.is_foreign() {
        return cargo;
    }
    let target = arch.target.to_uppercase().replace('-', "_");
    let linker = format!("{}-gcc", arch.gnu);
    cargo.env(format!("CARGO_TARGET_{target}_LINKER"), linker)
}

/// What cargo is told so that it compiles for an architecture, once that can be done here.
pub(crate) fn target(arch: &Arch) -> Result<Vec<String>> {
    if !arch.is_foreign() {
        return Ok(Vec::new());
    }
    host::ready_for(arch)?;
    Ok(vec![format!("--target={}", arch.target)])
}

/// The command line, `chrmem`.
pub(crate) fn chrmem(arch: &Arch) -> Result<PathBuf> {
    build(arch, kernel::STOCK, "chrmem-cli", "chrmem", true)
}

/// The command line as it is installed: what it costs by itself must not be in what it measures.
pub(crate) fn optimized_chrmem(arch: &Arch) -> Result<PathBuf> {
    let step = Step::new("compiling chrmem", None);
    let built = executables(arch, "chrmem-cli", &["--release"])?;
    step.done();
    built
        .into_iter()
        .next()
        .context("chrmem-cli has no program")
}

/// The VM tests, `chrmem-vm-tests`.
pub(crate) fn tests(arch: &Arch, kernel: &str) -> Result<PathBuf> {
    build(arch, kernel, "chrmem-tests-vm", "chrmem-vm-tests", true)
}

/// The VM tests of the workspace in `dir`, built in `target`.
pub(crate) fn tests_of(arch: &Arch, dir: &Path, target: &Path) -> Result<PathBuf> {
    let step = Step::new("compiling a mutant of chrmem-vm-tests", None);
    let target = target.to_str().context("a path that is no text")?;
    let built = executables_of(
        dir,
        arch,
        kernel::STOCK,
        "chrmem-tests-vm",
        &["--target-dir", target],
        true,
    )?;
    step.done();
    built
        .into_iter()
        .next()
        .context("chrmem-tests-vm has no program")
}

/// Where `fsx` is, or will be.
fn fsx_path(arch: &Arch) -> Result<PathBuf> {
    let name = match arch.is_foreign() {
        true => format!("fsx-{FSX}-{}", arch.name),
        false => format!("fsx-{FSX}"),
    };
    Ok(cache::dir()?.join("tools").join(name).join("bin/fsx"))
}

/// `fsx`, which compares what a file does with a model of it. It is only ever run: its licence is not ours.
pub(crate) fn fsx(arch: &Arch) -> Result<PathBuf> {
    let path = fsx_path(arch)?;
    let _lock = Lock::exclusive(&cache::dir()?.join("tools/lock"), "compiling fsx")?;
    if !path.exists() {
        let step = Step::new(format!("compiling fsx {FSX}"), None);
        let root = path
            .ancestors()
            .nth(2)
            .and_then(|dir| dir.to_str())
            .context("no place for fsx")?;
        let install = ["install", "--quiet", "--locked", "--version", FSX];
        let target = target(arch)?;
        let args = install.into_iter().chain(["--root", root]);
        let args = args.chain(target.iter().map(String::as_str));
        cargo(arch, args.chain(["fsx"]))
            .stdin_null()
            .run()
            .context("fsx does not build")?;
        step.done();
    }
    Ok(path)
}

/// The library's examples.
pub(crate) fn examples(arch: &Arch) -> Result<Vec<PathBuf>> {
    let step = Step::new("compiling the examples", None);
    let built = executables(arch, "chrmem", &["--examples"])?;
    step.done();
    Ok(built)
}

/// The command line and the examples, and the VM tests if they build: a run that is not about them does without.
pub(crate) fn all(arch: &Arch, kernel: &str) -> Result<Programs> {
    let mut commands = vec![chrmem(arch)?];
    commands.extend(Some(fsx_path(arch)?).filter(|path| path.exists()));
    match build(arch, kernel, "chrmem-tests-vm", "chrmem-vm-tests", false) {
        Ok(tests) => commands.push(tests),
        Err(error) => eprintln!("lab: going on without the VM tests: {error:#}"),
    }
    Ok(Programs {
        commands,
        examples: examples(arch)?,
    })
}
