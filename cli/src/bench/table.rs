// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reports as text.

use super::clock::Unit;
use super::goals::{outcomes, say};
use super::report::{distinct, Figure, Report};
use crate::describe::table;
use crate::size::Exact;
use comfy_table::CellAlignment::{Left, Right};
use std::fmt::Write;

/// A number with its thousands apart: `160 753`; small ones with a digit after the point.
pub(crate) fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes: `64 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let text = Exact(bytes).to_string();
    let (digits, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    match unit {
        "" => format!("{digits} B"),
        unit => format!("{digits} {unit}iB"),
    }
}

/// What a unit is called.
pub(crate) fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Instructions => "instructions",
        Unit::Nanoseconds => "nanoseconds",
    }
}

/// All of a report.
pub(crate) fn text(report: &Report) -> String {
    let mut text = format!(
        "Linux {}, {} × {}, {} MiB. All figures are {}: medians, and in brackets what nine of ten \
         stay below, where that is more.\n",
        report.kernel,
        report.processors,
        report.processor,
        report.memory >> 20,
        unit_name(report.unit),
    );
    for what in report.whats() {
        let _ = write!(text, "\n{what}\n{}\n", rows(report, what));
    }
    let outcomes = outcomes(report);
    if !outcomes.is_empty() {
        let mut goals = table(&[
            ("GOAL", Left),
            ("CHRMEM", Right),
            ("PEER", Right),
            ("", Left),
            ("RATIO", Right),
            ("AT MOST", Right),
            ("", Left),
        ]);
        for it in outcomes {
            goals.add_row([
                it.name,
                number(it.mine),
                it.peer
                    .as_ref()
                    .map_or(String::new(), |(_, peer)| number(*peer)),
                it.peer.map_or(String::new(), |(who, _)| who),
                say(it.value),
                say(it.limit),
                match it.met {
                    Some(true) => "ok".to_owned(),
                    Some(false) => "MISSED".to_owned(),
                    None => String::new(),
                },
            ]);
        }
        let _ = write!(text, "\n{}\n", goals.trim_fmt());
    }
    for note in &report.notes {
        let _ = writeln!(text, "\nnote: {note}");
    }
    text
}

/// All of a report as Markdown: a heading and a table for the goals, and for each thing that was measured.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    let outcomes = outcomes(report);
    if !outcomes.is_empty() {
        text += "## goals\n\n| measure | chrmem | peer | ratio | at most | |\n|---|--:|--:|--:|--:|---|\n";
        for it in outcomes {
            let peer = it.peer.map_or(String::new(), |(who, peer)| {
                format!("{who} {}", number(peer))
            });
            let met = match it.met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {peer} | {} | {} | {met} |",
                it.name,
                number(it.mine),
                say(it.value),
                say(it.limit),
            );
        }
        text.push('\n');
    }
    for what in report.whats() {
        let whos = report.whos(what);
        let _ = write!(text, "## {what}\n\n| | {} |\n|---|", whos.join(" | "));
        text += &"--:|".repeat(whos.len());
        text.push('\n');
        for (name, cells) in cells(report, what) {
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

/// What is done by all who do it, a line for each size or number of threads.
fn rows(report: &Report, what: &str) -> String {
    let mut headings = vec![("", Right)];
    headings.extend(report.whos(what).into_iter().map(|who| (who, Right)));
    let mut rows = table(&headings);
    for (name, cells) in cells(report, what) {
        rows.add_row([name].into_iter().chain(cells));
    }
    rows.trim_fmt()
}

/// The same: the name of each line, and what each has there.
fn cells(report: &Report, what: &str) -> Vec<(String, Vec<String>)> {
    let figures: Vec<_> = report.figures.iter().filter(|it| it.what == what).collect();
    let whos = report.whos(what);
    let line = |key| {
        let at = |who: &&str| {
            let of = figures
                .iter()
                .find(|it| it.who == **who && (it.size, it.threads) == key);
            of.map_or_else(|| "-".to_owned(), |it| cell(it))
        };
        let name = match key {
            (_, Some(1)) => "1 thread".to_owned(),
            (_, Some(threads)) => format!("{threads} threads"),
            (Some(bytes), None) => size(bytes),
            (None, None) => String::new(),
        };
        (name, whos.iter().map(at).collect())
    };
    distinct(figures.iter().map(|it| (it.size, it.threads)))
        .into_iter()
        .map(line)
        .collect()
}

/// A figure, with its spread if that can be seen.
fn cell(figure: &Figure) -> String {
    let sample = figure.sample;
    match sample.high > sample.median * 1.02 {
        true => format!("{} ({})", number(sample.median), number(sample.high)),
        false => number(sample.median),
    }
}

#[cfg(test)]
mod tests {
    use super::{number, size};

    #[test]
    fn numbers_can_be_read() {
        for (value, text) in [
            (0.25, "0.2"),
            (99.94, "99.9"),
            (100.0, "100"),
            (1527.0, "1 527"),
            (160_753.4, "160 753"),
            (44_300_000.0, "44 300 000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn sizes_have_units() {
        for (bytes, text) in [
            (64, "64 B"),
            (4096, "4 KiB"),
            (64 << 20, "64 MiB"),
            (1 << 30, "1 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
