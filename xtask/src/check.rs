// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask check`: what needs no test to be seen wrong. One line a check; all of them run.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use duct::{cmd, Expression};
use fs_err as fs;

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
        book::make(&setup::lab(kernel::STOCK)?).map(drop)
    }),
    ("driver without warnings, without panics", driver),
    ("all crates with the oldest Rust, Debian's", oldest::check),
];

/// Runs every check whose name has `filter` in it.
pub(crate) fn run(filter: &str) -> Result<ExitCode> {
    let chosen = |checks: &'static [Check]| {
        let checks = checks.iter();
        checks.filter(|(name, _)| name.contains(filter)).collect()
    };
    let (of_checkout, of_lab): (Vec<_>, Vec<_>) = (chosen(OF_CHECKOUT), chosen(OF_LAB));
    let all = |checks: &[&Check]| checks.iter().filter(|it| !passes(it)).count();
    let failed = if of_lab.is_empty() {
        all(&of_checkout)
    } else {
        // The lab is mostly downloaded, which leaves the processors to the others.
        let (_lab, failed) = vm::lab_and(kernel::STOCK, || Ok(all(&of_checkout)))?;
        failed + all(&of_lab)
    };
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Runs a check, and says how it went.
fn passes((name, check): &Check) -> bool {
    let start = Instant::now();
    let result = check();
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => println!("ok      {name} ({seconds:.1} s)"),
        Err(error) => {
            println!("FAILED  {name} ({seconds:.1} s)");
            eprintln!("{error:#}");
            return false;
        }
    }
    true
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
const MIRI_TESTS: &[&str] = &["--test", "memory", "--test", "ring"];

/// Runs the tests of the library's unsafe code in Miri, where it can be had: it is a part of nightly compilers.
fn miri() -> Result<()> {
    let rustup = |args: &[&str]| cmd("rustup", args).stderr_to_stdout().stdout_capture();
    if which::which("rustup").is_err() {
        println!("        skipped: there is no rustup, which has Miri");
        return Ok(());
    }
    let parts = [
        "component",
        "add",
        "--toolchain",
        "nightly",
        "miri",
        "rust-src",
    ];
    let output = rustup(&parts).unchecked().run()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default();
        println!("        skipped: `rustup {}` says: {last}", parts.join(" "));
        return Ok(());
    }
    let args = [
        "run", "nightly", "cargo", "miri", "test", "--quiet", "-p", "chrmem",
    ];
    let command = cmd("rustup", args.iter().chain(MIRI_TESTS));
    // Its builds are others than those of the compiler that runs this.
    let command = ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"]
        .into_iter()
        .fold(command, |command, name| command.env_remove(name));
    quiet(command.env("CARGO_TARGET_DIR", workspace::target()?.join("miri")))
}

/// Builds the driver for each series that it is written for.
fn driver() -> Result<()> {
    for series in kernels::supported() {
        let lab = setup::lab(series)?;
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

/// The most bytes of code and constants that the module may have.
const TEXT: u64 = 100 << 10;

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
