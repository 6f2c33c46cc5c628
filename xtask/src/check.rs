// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask check`: what needs no test to be seen wrong. One line a check; all of them run. What a machine lacks the tools for is
//! skipped, but not in CI.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use duct::{cmd, Expression};
use fs_err as fs;

use crate::arch::Arch;
use crate::root::Bind;
use crate::setup::{self, Lab};
use crate::{book, driver, kernel, kernels, licences, oldest, pages, panics, vm, workspace};

/// A check: its name and what it does.
type Check = (&'static str, fn() -> Result<()>);

/// What the checkout is enough for.
const OF_CHECKOUT: &[Check] = &[
    ("formatting", formatting),
    ("licences of this project", licences::own),
    ("licences of dependencies", licences::dependencies),
    ("clippy", || {
        cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    }),
    ("documentation", documentation),
    ("pages, of which all is tested", pages::check),
    ("the library's memory accesses, by Miri", miri),
];

/// What needs the lab.
const OF_LAB: &[Check] = &[
    ("book, of which every link leads somewhere", || {
        book::make(&setup::native(kernel::STOCK)?).map(drop)
    }),
    ("driver without warnings, without panics", driver),
    ("all crates with the oldest Rust, Debian's", oldest::check),
];

/// Why a check was skipped, as the error of that check.
#[derive(Debug)]
struct Skipped(String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Passed,
    Skipped,
    Failed,
}

/// Runs every check whose name has `filter` in it.
pub(crate) fn run(filter: &str) -> Result<ExitCode> {
    let in_ci = std::env::var_os("CI").is_some();
    let chosen = |checks: &'static [Check]| {
        let checks = checks.iter();
        checks.filter(|(name, _)| name.contains(filter)).collect()
    };
    let (of_checkout, of_lab): (Vec<_>, Vec<_>) = (chosen(OF_CHECKOUT), chosen(OF_LAB));
    let all = |checks: &[&Check]| -> Vec<End> { checks.iter().map(|it| one(it, in_ci)).collect() };
    let ends = if of_lab.is_empty() {
        all(&of_checkout)
    } else {
        // The lab is mostly downloaded, which leaves the processors to the others.
        let (_lab, mut ends) =
            vm::lab_and(Arch::native(), kernel::STOCK, || Ok(all(&of_checkout)))?;
        ends.extend(all(&of_lab));
        ends
    };
    let count = |end| ends.iter().filter(|it| **it == end).count();
    let (passed, failed, skipped) = (count(End::Passed), count(End::Failed), count(End::Skipped));
    if skipped > 0 {
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    } else {
        println!("{passed} passed, {failed} failed");
    }
    if ends.is_empty() {
        eprintln!("error: no check is called so");
    }
    Ok(if failed == 0 && !ends.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a check, and says how it went.
fn one((name, check): &Check, in_ci: bool) -> End {
    let start = Instant::now();
    let result = check();
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => {
            println!("ok      {name} ({seconds:.1} s)");
            End::Passed
        }
        Err(why) if why.is::<Skipped>() && !in_ci => {
            println!("skipped {name}: {why}");
            End::Skipped
        }
        Err(error) => {
            println!("FAILED  {name} ({seconds:.1} s)");
            eprintln!("{error:#}");
            if error.is::<Skipped>() {
                eprintln!("CI skips no check");
            }
            End::Failed
        }
    }
}

/// Runs a command in the checkout; what it printed is the error.
fn quiet(command: Expression) -> Result<()> {
    let output = command
        .dir(workspace::dir())
        .stdin_null()
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// The same for cargo.
fn cargo(args: &[&str]) -> Result<()> {
    quiet(cmd(workspace::cargo(), args))
}

/// cargo formats what it compiles; the driver is not among that.
fn formatting() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    let sources = workspace::files()?
        .into_iter()
        .filter(|file| file.starts_with("driver/") && file.ends_with(".rs"));
    let args = ["--check", "--edition", "2021"].map(String::from);
    quiet(cmd("rustfmt", args.into_iter().chain(sources)))
}

fn documentation() -> Result<()> {
    let doc = cmd(
        workspace::cargo(),
        ["doc", "--quiet", "--workspace", "--no-deps"],
    );
    quiet(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// What Miri runs, and for how long.
const MIRI_TESTS: [&[&str]; 2] = [&["--test", "memory", "--test", "ring"], &["--lib", "raw::"]];

/// Runs the tests of the library's unsafe code in Miri, where it can be had: it is a part of nightly compilers.
fn miri() -> Result<()> {
    if which::which("rustup").is_err() {
        bail!(Skipped("there is no rustup, which has Miri".into()));
    }
    // What is installed already serves; else the newest nightly compiler that has Miri.
    rustup(&[
        "component",
        "add",
        "--toolchain",
        "nightly",
        "miri",
        "rust-src",
    ])
    .or_else(|_| {
        rustup(&[
            "toolchain",
            "install",
            "nightly",
            "--profile=minimal",
            "--component=miri,rust-src",
            "--no-self-update",
        ])
    })?;
    let target = workspace::target()?.join("miri");
    MIRI_TESTS.iter().try_for_each(|tests| {
        let args = [
            "run", "nightly", "cargo", "miri", "test", "--quiet", "-p", "chrmem",
        ];
        let command = cmd("rustup", args.iter().chain(*tests));
        // Its builds are others than those of the compiler that runs this.
        let command = ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"]
            .into_iter()
            .fold(command, |command, name| command.env_remove(name));
        quiet(command.env("CARGO_TARGET_DIR", &target))
    })
}

/// Runs rustup; if it fails, the check is skipped.
fn rustup(args: &[&str]) -> Result<()> {
    let command = cmd("rustup", args).stderr_to_stdout().stdout_capture();
    let output = command.unchecked().run()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default();
        bail!(Skipped(format!("`rustup {}` says: {last}", args.join(" "))));
    }
    Ok(())
}

/// Builds the driver for each series that it is written for.
fn driver() -> Result<()> {
    for series in kernels::supported() {
        let lab = setup::native(series)?;
        driver_for(&lab).with_context(|| format!("for {}", lab.kernel.name()))?;
    }
    Ok(())
}

/// Builds the driver from nothing, so that every warning shows: the compiler's and the linter's.
fn driver_for(lab: &Lab) -> Result<()> {
    let target = workspace::target()?;
    let (output, log) = (
        tempfile::tempdir_in(&target)?,
        target.join("check-driver.log"),
    );
    driver::make(lab, output.path(), &log, &["CLIPPY=1"])?;
    let text = fs::read_to_string(&log)?;
    let warnings: Vec<_> = text
        .lines()
        .filter(|line| line.to_lowercase().contains("warning"))
        .collect();
    if !warnings.is_empty() {
        bail!("{}\n(all of it: {})", warnings.join("\n"), log.display());
    }
    size(lab, output.path())?;
    panics::check(lab, output.path()).context("panics in the driver")
}

/// The most bytes of code, constants and tables that the module may have, as `size` counts them.
const TEXT: u64 = 160 << 10;

/// Checks how much code the module has.
fn size(lab: &Lab, output: &Path) -> Result<()> {
    let binds = [Bind::read_only(output, "/run/chrmem/output")];
    let sizes = lab
        .root
        .command(&binds, ["size", "/run/chrmem/output/chrmem.ko"])
        .read()?;
    // A line of headings, then one of numbers, `text` before all others.
    let text = sizes
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let text = text.with_context(|| format!("`size` says {sizes}"))?;
    ensure!(
        text <= TEXT,
        "the module has {text} bytes of code and constants, more than {TEXT}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{one, End, Skipped};
    use anyhow::bail;

    #[test]
    fn what_is_skipped_has_not_passed_and_fails_in_ci() {
        let skips: super::Check = ("x", || bail!(Skipped("no tool".into())));
        assert_eq!(one(&skips, false), End::Skipped);
        assert_eq!(one(&skips, true), End::Failed);
        assert_eq!(one(&("x", || Ok(())), true), End::Passed);
        assert_eq!(one(&("x", || bail!("wrong")), false), End::Failed);
    }
}
