// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem bench`

use crate::bench::{self, Group, Kind, Plan, Report, Unit};
use crate::{json, size};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  sudo chrmem bench --only maps
  sudo chrmem bench --system --html report.html
  chrmem bench --from monday.json --from tuesday.json --html both.html";

/// What can be typed after `chrmem bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Measure only this; may be given several times
    #[arg(long, value_name = "GROUP")]
    only: Vec<Group>,
    /// Measure only what the goals are about
    #[arg(long)]
    quick: bool,
    /// The largest memory to measure with; less where there is not so much
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "1G")]
    largest: u64,
    /// Say what the clock counts, instead of having it found out
    #[arg(long)]
    unit: Option<Unit>,
    /// Change settings of the system meanwhile: put huge pages aside, switch huge pages off
    #[arg(long)]
    system: bool,
    /// Measure nothing, but show what `--json` has kept; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "quick", "largest", "unit", "system"])]
    from: Vec<PathBuf>,
    /// Print JSON: a list of reports
    #[arg(long)]
    json: bool,
    /// Write a page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the charts, one a file
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,
    /// Answer notifications: what another process does for one of the measures
    #[arg(long, hide = true)]
    answer: Option<Kind>,
}

pub(crate) fn run(arguments: &Bench, out: &mut impl Write) -> Result<()> {
    if let Some(kind) = arguments.answer {
        return bench::answer(kind);
    }
    let reports = match arguments.from.as_slice() {
        [] => vec![measure(arguments)?],
        files => read(files)?,
    };
    if let Some(path) = &arguments.html {
        write(path, &bench::page(&reports))?;
    }
    if let Some(folder) = &arguments.svg {
        for picture in reports.iter().flat_map(bench::pictures) {
            write(
                &folder.join(picture.name).with_extension("svg"),
                &picture.svg,
            )?;
        }
    }
    if arguments.json {
        return json::print(&reports, out);
    }
    for report in &reports {
        write!(out, "{}", bench::text(report))?;
    }
    Ok(())
}

/// Measures, and shows in the terminal what.
fn measure(arguments: &Bench) -> Result<Report> {
    let plan = Plan {
        unit: arguments.unit,
        groups: arguments.only.clone(),
        largest: arguments.largest,
        quick: arguments.quick,
        system: arguments.system,
    };
    // Hidden where standard error is no terminal.
    let line = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("measuring {msg}") {
        line.set_style(style);
    }
    let report = bench::run(&plan, |what| {
        line.set_message(what.to_owned());
        line.tick();
    });
    line.finish_and_clear();
    report
}

/// Reads what was kept.
fn read(files: &[PathBuf]) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let kept: Vec<Report> = serde_json::from_str(&text)
            .with_context(|| format!("{} is not what --json prints", file.display()))?;
        reports.extend(kept);
    }
    Ok(reports)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
