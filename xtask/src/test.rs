// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask test`: the host tests, then the VM tests, then one line that adds both up.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use duct::cmd;

use crate::job::Job;
use crate::programs::{self, Programs};
use crate::setup::Lab;
use crate::tee::Tee;
use crate::vm::{self, Args};
use crate::{pages, report, workspace};

/// How many seconds the VM tests may take.
const LIMIT: u64 = 2400;

/// Adds up what test programs report.
#[derive(Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Count {
    /// Takes in a line of a test program if it is a summary: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let mut words = part.split(' ');
            let number = words
                .next()
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap_or_default();
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.ignored += number,
                _ => {}
            }
        }
    }

    /// How many ran, or should have.
    fn all(&self) -> u64 {
        self.passed + self.failed + self.ignored
    }

    /// Counts as failed what no test program reported as such: tests that CI skips, and programs that broke off.
    fn judge(&mut self, what: &str, succeeded: bool) {
        if self.ignored > 0 && std::env::var_os("CI").is_some() {
            eprintln!(
                "error: {} {what} were skipped, which CI does not accept",
                self.ignored
            );
            self.failed += self.ignored;
        }
        if !succeeded && self.failed == 0 {
            eprintln!("error: the {what} did not come to their end");
            self.failed += 1;
        }
    }
}

/// Runs all tests, or those that `filter` selects.
pub(crate) fn run(filter: &[String]) -> Result<ExitCode> {
    // All that needs compiling is compiled while the lab is made.
    let (lab, programs) = vm::lab_and(|| {
        let built = Programs {
            commands: vec![programs::tests()?, programs::chrmem()?, programs::fsx()?],
            examples: programs::examples()?,
        };
        // What fails here fails again below, where it is counted.
        cmd(workspace::cargo(), ["test", "--quiet", "--no-run"])
            .dir(workspace::dir())
            .stderr_null()
            .unchecked()
            .run()?;
        Ok(built)
    })?;
    let host = host_tests(filter)?;
    let broken = |error: anyhow::Error| {
        eprintln!("error: {error:#}");
        Count {
            failed: 1,
            ..Count::default()
        }
    };
    let vm = vm_tests(&lab, &programs, filter).unwrap_or_else(broken);
    let pages = page_tests(filter).unwrap_or_else(broken);
    let passed = host.passed + vm.passed + pages.passed;
    let failed = host.failed + vm.failed + pages.failed;
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

/// Runs the VM tests, with the driver loaded.
fn vm_tests(lab: &Lab, programs: &Programs, filter: &[String]) -> Result<Count> {
    let tests = programs.commands.first().context("there are no VM tests")?;
    let list = cmd(
        tests,
        ["--list"]
            .into_iter()
            .chain(filter.iter().map(String::as_str)),
    )
    .read()?;
    let listed = list.lines().filter(|line| line.ends_with(": test")).count() as u64;
    if listed == 0 {
        ensure!(!filter.is_empty(), "there are no VM tests");
        return Ok(Count::default());
    }
    let args = Args {
        timeout: LIMIT,
        ..Args::default()
    };
    let mut job = Job::new(&args, lab, &programs.commands)?;
    job.examples(&programs.examples)?;
    let command = ["chrmem-vm-tests", "--test-threads=1"];
    job.command(command.into_iter().chain(filter.iter().map(String::as_str)))?;
    let output = Tee::default();
    let outcome = job.run(output.clone())?;
    let mut count = Count::default();
    output.text().lines().for_each(|line| count.add(line));
    report::keep(&args.kernel, &output.text())?;
    count.judge("VM tests", outcome.status == 0);
    if count.all() < listed {
        eprintln!("error: of {listed} VM tests, {} ran", count.all());
        count.failed += listed - count.all();
    }
    if let Err(error) = outcome.verdict() {
        eprintln!("error: {error:#}");
        count.failed += 1;
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

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn summaries_add_up() {
        let mut count = Count::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a ... ok",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out",
        ] {
            count.add(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 13,
                failed: 2,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_crash_is_a_failure() {
        let mut count = Count {
            passed: 3,
            ..Count::default()
        };
        count.judge("tests", false);
        assert_eq!(count.failed, 1);
    }
}
