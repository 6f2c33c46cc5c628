// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask nightly`: what takes too long to run for each change, part by part, with one verdict.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use duct::{cmd, Expression};

/// The commands, without `cargo xtask`. The longest comes last.
const PARTS: [&[&str]; 7] = [
    &["dist", "--test"],
    &["dist", "debs", "--arch", "arm64", "--test"],
    &["test", "--kernel", "7.2"],
    &["test", "--arch", "arm64"],
    &["test", "--arch", "arm64", "--kernel", "16k"],
    &["mutants"],
    &["test", "--kernel", "debug"],
];

/// How a part ended.
#[derive(Debug, PartialEq)]
struct End {
    passed: u64,
    failed: u64,
}

/// Runs each part whose name has `filter` in it, also after one that failed.
pub(crate) fn run(filter: &str) -> Result<ExitCode> {
    let this = std::env::current_exe().context("this program's own path")?;
    let mut ends = Vec::new();
    for words in PARTS {
        let name = format!("cargo xtask {}", words.join(" "));
        if name.contains(filter) {
            println!("nightly: {name}");
            let start = Instant::now();
            let end = part(&cmd(&this, words));
            ends.push((name, end, start.elapsed()));
        }
    }
    ensure!(!ends.is_empty(), "no part is called so");
    println!();
    for (name, end, time) in &ends {
        println!("{}", line(name, end, *time));
    }
    let (passed, failed) = sum(ends.iter().map(|(_, end, _)| end));
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a part and passes on what it prints. A part that counts nothing counts as one.
fn part(command: &Expression) -> End {
    match counts(command) {
        Ok((succeeded, last)) => {
            let mut end = last.unwrap_or(End {
                passed: u64::from(succeeded),
                failed: 0,
            });
            if !succeeded && end.failed == 0 {
                end.failed = 1;
            }
            end
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            End {
                passed: 0,
                failed: 1,
            }
        }
    }
}

/// Runs a command: whether it succeeded, and the last line of the form `3 passed, 1 failed` that it printed.
fn counts(command: &Expression) -> Result<(bool, Option<End>)> {
    let reader = command.stdin_null().unchecked().reader()?;
    let mut last = None;
    for line in BufReader::new(&reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        last = parse(&line).or(last);
    }
    let output = reader
        .try_wait()?
        .context("a part closed its output and goes on")?;
    Ok((output.status.success(), last))
}

/// Reads `3 passed, 1 failed`.
fn parse(line: &str) -> Option<End> {
    let (passed, rest) = line.split_once(" passed, ")?;
    Some(End {
        passed: passed.parse().ok()?,
        failed: rest.strip_suffix(" failed")?.parse().ok()?,
    })
}

/// All that passed, and all that failed.
fn sum<'a>(ends: impl Iterator<Item = &'a End>) -> (u64, u64) {
    ends.fold((0, 0), |(passed, failed), end| {
        (passed + end.passed, failed + end.failed)
    })
}

/// What is said of a part at the end.
fn line(name: &str, end: &End, time: Duration) -> String {
    let verdict = if end.failed == 0 { "ok    " } else { "FAILED" };
    format!(
        "{verdict}  {name}: {} passed, {} failed ({:.1} min)",
        end.passed,
        end.failed,
        time.as_secs_f64() / 60.0
    )
}

#[cfg(test)]
mod tests {
    use super::{line, part, sum, End};
    use duct::cmd;
    use std::time::Duration;

    fn of(script: &str) -> (u64, u64) {
        let End { passed, failed } = part(&cmd!("sh", "-c", script));
        (passed, failed)
    }

    #[test]
    fn a_part_s_own_count_counts() {
        assert_eq!(
            of("echo 1 passed, 9 failed; echo 3 passed, 0 failed"),
            (3, 0)
        );
        assert_eq!(of("echo 3 passed, 2 failed; exit 1"), (3, 2));
        assert_eq!(of("echo '  2 passed, 0 failed, 1 skipped'"), (1, 0));
    }

    #[test]
    fn a_part_that_breaks_off_has_failed() {
        assert_eq!(of("exit 0"), (1, 0));
        assert_eq!(of("exit 1"), (0, 1));
        assert_eq!(of("echo 3 passed, 0 failed; exit 1"), (3, 1));
        assert_eq!(of("echo 3 passed, 0 failed; kill -9 $$"), (3, 1));
        let missing = part(&cmd!("/nonexistent/program"));
        assert_eq!((missing.passed, missing.failed), (0, 1));
    }

    #[test]
    fn nobody_types_into_a_part() {
        assert_eq!(of("cat"), (1, 0));
    }

    #[test]
    fn the_end_says_all() {
        let ends = [(3, 0), (4, 2)].map(|(passed, failed)| End { passed, failed });
        assert_eq!(sum(ends.iter()), (7, 2));
        let said = ends.map(|end| line("cargo xtask x", &end, Duration::from_secs(90)));
        assert_eq!(
            said,
            [
                "ok      cargo xtask x: 3 passed, 0 failed (1.5 min)",
                "FAILED  cargo xtask x: 4 passed, 2 failed (1.5 min)"
            ]
        );
    }
}
