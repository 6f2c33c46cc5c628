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
use crate::{detectors, kernel, pages, report, workspace};

/// One boot of the VM in which all the VM tests run.
pub(crate) struct Boot {
    /// What reports and the tests call it.
    name: &'static str,
    /// More for the kernel's command line.
    pub(crate) append: &'static str,
    /// How many seconds the tests may take.
    limit: u64,
}

/// As users boot the kernel.
const PLAIN: Boot = Boot {
    name: "plain",
    append: "",
    limit: 2400,
};

/// With what the distribution's kernel has to find mistakes with. New memory is not zeroed unless it is asked for, and what
/// is freed is overwritten.
pub(crate) const HARDENED: Boot = Boot {
    name: "hardened",
    append: "slab_debug=FZPU page_poison=1 init_on_alloc=0 init_on_free=1 kfence.sample_interval=1 panic_on_warn=1",
    limit: 3000,
};

/// The kernel with sanitizers.
const DEBUG: Boot = Boot {
    name: "debug",
    append: "",
    limit: 4800,
};

/// The boots for the kernel called `kernel`.
fn boots(kernel: &str) -> &'static [Boot] {
    match kernel {
        kernel::STOCK => &[PLAIN, HARDENED],
        kernel::DEBUG => &[DEBUG],
        _ => &[PLAIN],
    }
}

/// The environment variable that tells the tests which boot it is.
const BOOT: &str = "CHRMEM_BOOT";

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

/// Runs all tests with the kernel called `kernel`, or those that `filter` selects. The host tests have no kernel: they go with
/// the stock one.
pub(crate) fn run(kernel: &str, filter: &[String]) -> Result<ExitCode> {
    let on_host = kernel == kernel::STOCK;
    // All that needs compiling is compiled while the lab is made.
    let (lab, programs) = vm::lab_and(kernel, || {
        let built = Programs {
            commands: vec![programs::tests()?, programs::chrmem()?, programs::fsx()?],
            examples: programs::examples()?,
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
    let broken = |error: anyhow::Error| {
        eprintln!("error: {error:#}");
        Count {
            failed: 1,
            ..Count::default()
        }
    };
    let mut counts = Vec::new();
    if on_host {
        counts.push(host_tests(filter)?);
        counts.push(page_tests(filter).unwrap_or_else(broken));
    }
    if kernel == kernel::DEBUG {
        counts.push(detectors(&lab, &programs, filter).unwrap_or_else(broken));
    }
    for boot in boots(kernel) {
        println!(
            "\n     Running the VM tests on {}, {}",
            lab.kernel.name(),
            boot.name
        );
        let args = Args {
            kernel: kernel.into(),
            append: boot.append.into(),
            timeout: boot.limit,
            ..Args::default()
        };
        counts.push(vm_tests(&lab, &args, boot, &programs, filter).unwrap_or_else(broken));
    }
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

/// Runs the VM tests, with the driver loaded.
fn vm_tests(
    lab: &Lab,
    args: &Args,
    boot: &Boot,
    programs: &Programs,
    filter: &[String],
) -> Result<Count> {
    let tests = programs.commands.first().context("there are no VM tests")?;
    let filter = || filter.iter().map(String::as_str);
    let list = cmd(tests, ["--list"].into_iter().chain(filter()))
        .env(BOOT, boot.name)
        .read()?;
    let listed = list.lines().filter(|line| line.ends_with(": test")).count() as u64;
    if listed == 0 {
        ensure!(filter().next().is_some(), "there are no VM tests");
        return Ok(Count::default());
    }
    let mut job = Job::new(args, lab, &programs.commands)?;
    job.examples(&programs.examples)?;
    let setting = format!("{BOOT}={}", boot.name);
    let command = ["env", &setting, "chrmem-vm-tests", "--test-threads=1"];
    job.command(command.into_iter().chain(filter()))?;
    let output = Tee::default();
    let outcome = job.run(output.clone())?;
    let mut count = Count::default();
    output.text().lines().for_each(|line| count.add(line));
    let run = match args.kernel.as_str() {
        kernel::STOCK => boot.name,
        kernel => kernel,
    };
    report::keep(run, &output.text())?;
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
