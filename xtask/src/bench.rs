// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask bench`: `chrmem bench` in the guest, counted in instructions; and the gate that tells which counts moved.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, ensure, Context, Result};
use duct::cmd;
use fs_err as fs;
use serde_json::Value;

use crate::arch::{self, Arch};
use crate::job::Job;
use crate::setup::Lab;
use crate::vm::{self, Args};
use crate::{places, programs, workspace};

/// The counts that the gate compares with, by the kernel's release.
const COUNTS: &str = "bench/counts.json";

/// By so many per cent a count may differ. Counts are exact but for what the timer and the state of the kernel's caches add.
const TOLERANCE: u64 = 3;

/// The page whose tables are made here.
const PAGE: &str = "docs/performance.md";

/// The guest's memory of a device that nobody minds being overwritten.
const BAR: &str = "/sys/bus/pci/devices/0000:00:05.0/resource2";

/// The charts that the documentation shows.
const SHOWN: &[&str] = &["mapping", "records"];

/// What to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The machine's architecture, as `vm` takes it
    #[arg(long, value_name = "NAME", default_value = arch::default(), value_parser = Arch::named)]
    arch: &'static Arch,
    /// Measure only what the goals are about, and fail if a count is not what was written down
    #[arg(long)]
    gate: bool,
    /// With --gate, write down what was counted, for this kernel; else, put charts and tables into the documentation
    #[arg(long)]
    update: bool,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let (lab, chrmem) = vm::lab_and(options.arch, &Args::default().kernel, || {
        programs::optimized_chrmem(options.arch)
    })?;
    let out = workspace::target()?.join("bench");
    fs::create_dir_all(&out)?;
    let counted = Args {
        arch: options.arch,
        icount: true,
        mem: Some("3G".into()),
        timeout: 3000,
        ..Args::default()
    };
    let quick: &[&str] = if options.gate { &["--quick"] } else { &[] };
    let file = out.join(if options.gate {
        "gate.json"
    } else {
        "counted.json"
    });
    measure(
        &counted,
        &lab,
        &chrmem,
        &[&["--system"], quick].concat(),
        &file,
    )?;
    let (kernel, counts) = counts(&fs::read_to_string(&file)?)?;
    let mut known = known()?;
    let mut code = ExitCode::SUCCESS;
    if options.gate && !options.update {
        if let Some(before) = known.get(&kernel) {
            let moved = moved(before, &counts);
            for line in &moved {
                println!("{line}");
            }
            println!("{} counts compared, {} moved", before.len(), moved.len());
            if !moved.is_empty() {
                code = ExitCode::FAILURE;
            }
        } else {
            // A kernel that the distribution has had since: what differs would be the kernel's doing.
            println!("{COUNTS} has no counts for Linux {kernel}: `cargo xtask bench --gate --update` adds them");
            for (name, count) in &counts {
                println!("        {name}: {count}");
            }
        }
    }
    if options.gate && options.update {
        known.insert(kernel.clone(), counts);
        let text = serde_json::to_string_pretty(&known)?;
        fs::write(workspace::dir().join(COUNTS), text + "\n")?;
    }
    if !options.gate {
        // What shows the figures runs here.
        let shows = match options.arch.is_foreign() {
            true => programs::optimized_chrmem(Arch::native())?,
            false => chrmem.clone(),
        };
        report(&lab, &chrmem, &shows, &file, &out)?;
        if options.update {
            fill_page(&shows, &file, &kernel)?;
            for name in SHOWN {
                // Of the first of two reports.
                let drawn = out.join(format!("{name}-1.svg"));
                let shown = format!("docs/pictures/{name}.svg");
                fs::copy(drawn, workspace::dir().join(shown))?;
            }
        }
    }
    Ok(code)
}

/// Measures in a guest.
fn measure(args: &Args, lab: &Lab, chrmem: &Path, words: &[&str], file: &Path) -> Result<()> {
    let mut job = Job::new(args, lab, &[chrmem.to_owned()])?;
    // At random addresses, one mapping more or less needs a page table of its own.
    let command = ["setarch", "-R", "chrmem", "bench", "--json", "--bar", BAR];
    job.command(command.iter().chain(words).copied())?;
    let outcome = job.run(std::fs::File::create(file)?)?;
    outcome.verdict()?;
    ensure!(outcome.status == 0, "chrmem bench fails in the guest");
    Ok(())
}

/// Measures what can only be measured in seconds, and shows all of it.
fn report(lab: &Lab, chrmem: &Path, shows: &Path, counted: &Path, out: &Path) -> Result<()> {
    let timed = out.join("timed.json");
    let machine = Args {
        arch: lab.arch,
        smp: 2,
        timeout: 1200,
        ..Args::default()
    };
    let words = ["--only", "threads", "--unit", "nanoseconds"];
    measure(&machine, lab, chrmem, &words, &timed)?;
    let page = out.join("report.html");
    let shown =
        cmd!(shows, "bench", "--from", counted, "--from", &timed, "--html", &page, "--svg", out);
    shown.run()?;
    eprintln!("charts: {}", page.display());
    Ok(())
}

/// Puts the tables of a report into the documentation: one for the goals, and for each thing that was measured.
fn fill_page(chrmem: &Path, counted: &Path, kernel: &str) -> Result<()> {
    let markdown = cmd!(chrmem, "bench", "--from", counted, "--markdown").read()?;
    let commit = cmd!("git", "rev-parse", "--short", "HEAD")
        .dir(workspace::dir())
        .read()?;
    let date = cmd!("date", "--utc", "+%F").read()?;
    let run = format!(
        "\nMeasured {date} on Linux {kernel}, at commit {commit} or what became of it.\n\n"
    );
    let path = workspace::dir().join(PAGE);
    let page = places::fill(&fs::read_to_string(&path)?, "bench", |name| match name {
        "run" => Some(run.clone()),
        name => table(&markdown, name),
    })?;
    fs::write(&path, page)?;
    Ok(())
}

/// The table below a heading.
fn table(markdown: &str, heading: &str) -> Option<String> {
    let (_, after) = markdown.split_once(&format!("## {heading}\n"))?;
    let table = after.split("## ").next().unwrap_or_default();
    Some(format!("\n{}\n\n", table.trim()))
}

type Counts = BTreeMap<String, u64>;

/// The kernel's release and the driver's counts in what `chrmem bench --json` printed: the cheapest of the repetitions, to
/// which the timer has added nothing.
fn counts(json: &str) -> Result<(String, Counts)> {
    let reports: Value = serde_json::from_str(json).context("chrmem bench printed no JSON")?;
    let report = &reports[0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if report["unit"] != "instructions" {
        bail!("the guest's clock does not count instructions");
    }
    let mut counts = Counts::new();
    for figure in report["figures"].as_array().into_iter().flatten() {
        let size = figure["size"].as_u64();
        let few =
            size.is_none_or(|size| [4 << 10, 64 << 10, 1 << 20, 2 << 20, 64 << 20].contains(&size));
        // What takes two processes depends on when each of them runs.
        if few
            && text(&figure["who"]).starts_with("chrmem")
            && !text(&figure["what"]).ends_with("be answered")
        {
            let size = size.map_or(String::new(), |size| format!(", {size} bytes"));
            let count = figure["low"].as_f64().context("a figure without a count")?;
            // CAST: counts are far from where that would matter.
            counts.insert(
                format!("{}{size}", text(&figure["what"])),
                count.round() as u64,
            );
        }
    }
    Ok((text(&report["kernel"]), counts))
}

/// What was written down.
fn known() -> Result<BTreeMap<String, Counts>> {
    let path = workspace::dir().join(COUNTS);
    let text = fs::read_to_string(&path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// Which counts are not what they were, a line each.
fn moved(before: &Counts, now: &Counts) -> Vec<String> {
    let differs = |(name, before): (&String, &u64)| {
        let Some(now) = now.get(name) else {
            return Some(format!("GONE    {name}: {before}"));
        };
        // CAST: counts are far from where that would matter.
        let change = *now as f64 / *before as f64 - 1.0;
        let word = if change > 0.0 { "DEARER " } else { "CHEAPER" };
        (now.abs_diff(*before) * 100 > before * TOLERANCE).then(|| {
            format!(
                "{word} {name}: {before} -> {now} ({:+.1} %)",
                change * 100.0
            )
        })
    };
    before.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::{counts, moved, table, Counts};

    #[test]
    fn the_drivers_counts_are_taken_from_a_report() {
        let figure = |what: &str, who: &str, size: &str, low: f64| {
            format!(
                "{{\"what\":\"{what}\",\"who\":\"{who}\",\"size\":{size},\"threads\":null,\"median\":{},\"low\":{low}}}",
                low + 50.0
            )
        };
        let figures = [
            figure("ioctl", "chrmem INFO", "null", 817.2),
            figure("pread", "chrmem", "4096", 1500.0),
            figure("pread", "chrmem", "256", 900.0),
            figure("pread", "memfd", "4096", 2000.0),
        ];
        let json = |unit: &str| {
            let figures = figures.join(",");
            format!("[{{\"unit\":\"{unit}\",\"kernel\":\"7.2\",\"figures\":[{figures}]}}]")
        };
        let expected = [("ioctl", 817), ("pread, 4096 bytes", 1500)];
        let expected: Counts = expected.map(|(name, count)| (name.into(), count)).into();
        assert_eq!(
            counts(&json("instructions")).unwrap(),
            ("7.2".into(), expected)
        );
        assert!(counts(&json("nanoseconds")).is_err());
    }

    #[test]
    fn a_table_is_found_by_its_heading() {
        let markdown = "## goals\n\n| a |\n\n## pread\n\n| b |\n| c |\n\n";
        assert_eq!(
            table(markdown, "pread").as_deref(),
            Some("\n| b |\n| c |\n\n")
        );
        assert_eq!(table(markdown, "pwrite"), None);
    }

    #[test]
    fn what_moved_is_told() {
        let of = |counts: [u64; 3]| -> Counts {
            let names = ["a", "b", "c"].map(String::from);
            names.into_iter().zip(counts).collect()
        };
        assert_eq!(
            moved(&of([100, 1000, 50]), &of([103, 971, 50])),
            Vec::<String>::new()
        );
        assert_eq!(
            moved(&of([100, 1000, 50]), &of([104, 900, 50])),
            [
                "DEARER  a: 100 -> 104 (+4.0 %)",
                "CHEAPER b: 1000 -> 900 (-10.0 %)"
            ]
        );
        assert_eq!(moved(&of([1, 2, 3]), &Counts::new()).len(), 3);
    }
}
