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
    /// Measure only this group; may be repeated
    #[arg(long, value_name = "GROUP")]
    only: Vec<Group>,
    /// Measure only what the goals need
    #[arg(long)]
    quick: bool,
    /// The largest memory to measure; limited by what is available
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "1G", allow_hyphen_values = true)]
    largest: u64,
    /// The unit of the clock [default: detected]
    #[arg(long)]
    unit: Option<Unit>,
    /// Change system settings meanwhile: reserve huge pages, disable transparent ones
    #[arg(long)]
    system: bool,
    /// Map this BAR, too, such as /sys/bus/pci/devices/0000:00:05.0/resource2; its first 64 MiB are overwritten
    #[arg(long, value_name = "FILE")]
    bar: Option<PathBuf>,
    /// Measure nothing, show a report that was saved with --json; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "quick", "largest", "unit", "system"])]
    from: Vec<PathBuf>,
    /// Print JSON: a list of reports
    #[arg(long)]
    json: bool,
    /// Print Markdown: a table for the goals, and one for each thing that was measured
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Write an HTML page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the charts into this directory: mapping.svg and so on, or mapping-1.svg and mapping-2.svg
    /// where there are two reports
    #[arg(long, value_name = "DIR")]
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
        for (index, report) in reports.iter().enumerate() {
            for picture in bench::pictures(report) {
                let name = match reports.len() {
                    1 => format!("{}.svg", picture.name),
                    // Reports have pictures of the same names.
                    _ => format!("{}-{}.svg", picture.name, index + 1),
                };
                write(&folder.join(name), &picture.svg)?;
            }
        }
    }
    if arguments.json {
        return json::print(&reports, out);
    }
    let show = match arguments.markdown {
        true => bench::markdown,
        false => bench::text,
    };
    for report in &reports {
        write!(out, "{}", show(report))?;
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
        bar: arguments.bar.clone(),
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
            .with_context(|| format!("{} is not a report that --json printed", file.display()))?;
        reports.extend(kept);
    }
    Ok(reports)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
