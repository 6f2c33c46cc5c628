// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask test`: the host tests, then the VM tests, then one line that adds both up.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use anyhow::{Context, Result};
use duct::cmd;

use crate::arch::Arch;
use crate::count::Count;
use crate::programs::{self, Programs};
use crate::setup::Lab;
use crate::{boot, detectors, kernel, pages, report, vm, workspace};

/// Runs all tests with the kernel called `kernel`, or those that `filter` selects. The host tests have no kernel: they go with
/// the stock one.
pub(crate) fn run(arch: &'static Arch, kernel: &str, filter: &[String]) -> Result<ExitCode> {
    let on_host = kernel == kernel::STOCK && !arch.is_foreign();
    // All that needs compiling is compiled while the lab is made.
    let (lab, programs) = vm::lab_and(arch, kernel, || {
        let built = Programs {
            commands: vec![
                programs::tests(arch, kernel)?,
                programs::chrmem(arch)?,
                programs::fsx(arch)?,
            ],
            examples: programs::examples(arch)?,
        };
        if on_host {
            // What fails here fails again below, where it is counted.
            cmd(workspace::cargo(), ["test", "--quiet", "--no-run"])
                .dir(workspace::dir())
                .stderr_null()
                .unchecked()
                .run()?;
        }
        Ok(built)
    })?;
    let mut counts = Vec::new();
    if on_host {
        counts.push(host_tests(filter)?);
        counts.push(page_tests(filter).unwrap_or_else(Count::broken));
    }
    if kernel == kernel::DEBUG {
        counts.push(detectors(&lab, &programs, filter).unwrap_or_else(Count::broken));
    }
    let all = boot::run_all(&lab, kernel, &programs, filter);
    counts.extend(all.unwrap_or_else(|error| vec![Count::broken(error)]));
    let passed: u64 = counts.iter().map(|count| count.passed).sum();
    let failed: u64 = counts.iter().map(|count| count.failed).sum();
    if passed + failed == 0 {
        eprintln!("error: no test is called so");
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the host tests.
fn host_tests(filter: &[String]) -> Result<Count> {
    let args = ["test", "--no-fail-fast", "--"]
        .into_iter()
        .chain(filter.iter().map(String::as_str));
    let reader = cmd(workspace::cargo(), args)
        .dir(workspace::dir())
        .stdin_null()
        .unchecked()
        .reader()?;
    let mut count = Count::default();
    let mut text = String::new();
    for line in BufReader::new(&reader).lines() {
        let line = line?;
        println!("{line}");
        count.add(&line);
        text += &line;
        text.push('\n');
    }
    report::keep("host", &text)?;
    let status = reader
        .try_wait()?
        .context("cargo closed its output and goes on")?
        .status;
    count.judge("host tests", status.success());
    Ok(count)
}

/// Sees whether the sanitizers find mistakes.
fn detectors(lab: &Lab, programs: &Programs, filter: &[String]) -> Result<Count> {
    let mut count = Count::default();
    if filter.is_empty() || filter.iter().any(|part| part.contains("detectors")) {
        println!("\n     Running the sanitizers on mistakes");
        let reported = detectors::run(lab, &programs.commands)?;
        count.failed = reported.iter().filter(|reported| !**reported).count() as u64;
        count.passed = reported.len() as u64 - count.failed;
        let facts = format!("report: detectors: mistakes reported: {}\n", count.passed);
        report::keep(kernel::DEBUG, &facts)?;
    }
    Ok(count)
}

/// Runs what the documentation shows as typed in a checkout, a page after the other.
fn page_tests(filter: &[String]) -> Result<Count> {
    let mut count = Count::default();
    for page in pages::all()? {
        let name = format!("guide::{} in a checkout", page.name);
        let is_meant = filter.is_empty() || filter.iter().any(|part| name.contains(part));
        if !is_meant || !page.is_typed_on_the_host() {
            continue;
        }
        println!("test {name} ...");
        match page.run() {
            Ok(()) => count.passed += 1,
            Err(error) => {
                println!("{error:#}");
                count.failed += 1;
            }
        }
    }
    println!(
        "test result of the pages: {} passed; {} failed",
        count.passed, count.failed
    );
    Ok(count)
}
