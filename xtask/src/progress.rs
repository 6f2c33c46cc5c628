// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the user sees of steps that take long: a bar on a terminal, else one line with the time it took.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use fs_err as fs;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Bars that are drawn at the same time, one a line.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shorter steps than this are not worth a line.
const NOTABLE: Duration = Duration::from_secs(1);

/// One step under way.
pub(crate) struct Step {
    what: String,
    start: Instant,
    bar: ProgressBar,
}

impl Step {
    /// Begins a step. `expected` is how many units it will have, where that is known.
    pub(crate) fn new(what: impl Into<String>, expected: Option<u64>) -> Self {
        let what = what.into();
        let bar = match expected {
            _ if !std::io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(length) => ProgressBar::new(length)
                .with_style(style("{spinner} {msg} [{bar:30}] {percent}% {elapsed}")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg} {elapsed}")),
        };
        let bar = if bar.is_hidden() { bar } else { BARS.add(bar) };
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            what,
            start: Instant::now(),
            bar,
        }
    }

    /// One more unit is done.
    pub(crate) fn advance(&self) {
        // An expectation is a guess: the bar waits below its end rather than run over it.
        if self
            .bar
            .length()
            .is_none_or(|length| self.bar.position() + 1 < length)
        {
            self.bar.inc(1);
        }
    }

    /// More units turn out to be needed.
    pub(crate) fn expect_more(&self, units: u64) {
        self.bar.inc_length(units);
    }

    /// Ends the step, with a line that says how long it took.
    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        let time = self.start.elapsed();
        if time >= NOTABLE {
            BARS.suspend(|| eprintln!("lab: {} ({:.1} s)", self.what, time.as_secs_f64()));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar's look.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Runs `command` with its output in the file `log`, and shows each line to `watch`.
pub(crate) fn logged(
    command: &duct::Expression,
    log: &Path,
    mut watch: impl FnMut(&str),
) -> Result<()> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut file = fs::File::create(log)?;
    let reader = command
        .unchecked()
        .stdin_null()
        .stderr_to_stdout()
        .reader()?;
    let mut lines = BufReader::new(&reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        file.write_all(&line)?;
        watch(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let output = reader
        .try_wait()?
        .context("a command closed its output and goes on")?;
    if !output.status.success() {
        bail!(
            "{}; its last lines:\n{}\n(all of it: {})",
            output.status,
            tail(log),
            log.display()
        );
    }
    Ok(())
}

/// The last lines of a log, indented.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
