// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask check`: what needs no test to be seen wrong. One line a check; all of them run.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use duct::{cmd, Expression};
use fs_err as fs;

use crate::setup::{self, Lab};
use crate::{driver, licences, panics, workspace};

/// A check: its name and what it does.
type Check = (&'static str, fn(&Lab) -> Result<()>);

const CHECKS: &[Check] = &[
    ("formatting", |_| formatting()),
    ("licences of this project", |_| licences::own()),
    ("licences of dependencies", |_| licences::dependencies()),
    ("clippy", |_| {
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
    ("documentation", |_| documentation()),
    ("driver without warnings, without panics", driver_build),
];

/// Runs every check.
pub(crate) fn run() -> Result<ExitCode> {
    let lab = setup::lab()?;
    let mut code = ExitCode::SUCCESS;
    for (name, check) in CHECKS {
        let start = Instant::now();
        let result = check(&lab);
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("ok      {name} ({seconds:.1} s)"),
            Err(error) => {
                println!("FAILED  {name} ({seconds:.1} s)");
                eprintln!("{error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
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

/// Builds the driver from nothing, so that every warning shows: the compiler's and the linter's.
fn driver_build(lab: &Lab) -> Result<()> {
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
    panics::check(lab, output.path()).context("panics in the driver")
}
