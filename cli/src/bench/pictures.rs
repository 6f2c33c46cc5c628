// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which charts are made of reports.

use super::chart::{bars, Axis, Chart, Line};
use super::clock::{Sample, Unit};
use super::goals::outcomes;
use super::maps::MAP;
use super::report::Report;
use super::table::unit_name;

/// A chart: the name of its file, and what is in it.
pub(crate) struct Picture {
    pub(crate) name: &'static str,
    pub(crate) svg: String,
}

/// The charts that a report has the figures for.
pub(crate) fn pictures(report: &Report) -> Vec<Picture> {
    let unit = unit_name(report.unit);
    let price = |sample: Sample| sample.median;
    let mut pictures = Vec::new();
    let mut add = |name, chart: Chart<'_>| {
        if chart.lines.iter().any(|line| line.points.len() > 1) {
            pictures.push(Picture {
                name,
                svg: chart.draw(),
            });
        }
    };
    let all = |what: &str, mine: &str, price: fn(Sample) -> f64| -> Vec<Line> {
        let whos = report.whos(what).into_iter();
        whos.map(|who| line(report, what, who, who, who == mine, price))
            .collect()
    };
    add(
        "mapping",
        Chart {
            title: "What it costs to map memory, touch each page of it, and unmap it",
            subtitle: &format!("{unit}, by size; memory that was allocated before"),
            x: (Axis::Bytes, "size"),
            y: (Axis::Powers, unit),
            lines: all(MAP, "chrmem", price),
        },
    );
    add(
        "records",
        Chart {
            title: "Looking at every word of a record: copied, mapped for it, or mapped once",
            subtitle: &format!("{unit}, by the record's size"),
            x: (Axis::Bytes, "size of the record"),
            y: (Axis::Powers, unit),
            lines: all("look at a record", "a kept mapping", price),
        },
    );
    let both = ["pread", "pwrite"].into_iter().flat_map(|what| {
        report.whos(what).into_iter().map(move |who| {
            line(
                report,
                what,
                who,
                &format!("{what}, {who}"),
                who == "chrmem",
                price,
            )
        })
    });
    add(
        "copying",
        Chart {
            title: "What a copy by read and write costs",
            subtitle: &format!("{unit}, by size"),
            x: (Axis::Bytes, "size"),
            y: (Axis::Powers, unit),
            lines: both.collect(),
        },
    );
    if report.unit == Unit::Nanoseconds {
        let rate: fn(Sample) -> f64 = |sample| 1e9 / sample.median;
        for (name, what, title) in [
            (
                "reading-threads",
                "pread by threads",
                "Reads of 64 KiB a second, of all threads together",
            ),
            (
                "mapping-threads",
                "map, touch, unmap by threads",
                "Mappings of 4 MiB a second, touched and unmapped, of all threads together",
            ),
        ] {
            add(
                name,
                Chart {
                    title,
                    subtitle:
                        "by threads of one process; measured in seconds, which are the machine's",
                    x: (Axis::Count, "threads of one process"),
                    y: (Axis::Even, "a second"),
                    lines: all(what, "chrmem", rate),
                },
            );
        }
    }
    let outcomes = outcomes(report);
    let judged = match report.unit {
        Unit::Instructions => "",
        Unit::Nanoseconds => "; time is not judged",
    };
    if !outcomes.is_empty() {
        pictures.push(Picture {
            name: "goals",
            svg: bars(
                "What was to be reached",
                &format!("{unit}, as a part of what the peer after the colon needs; one figure is absolute{judged}"),
                &outcomes,
            ),
        });
    }
    pictures
}

fn line(
    report: &Report,
    what: &str,
    who: &str,
    name: &str,
    mine: bool,
    value: fn(Sample) -> f64,
) -> Line {
    let points = report.line(what, who).into_iter();
    Line {
        name: name.to_owned(),
        points: points.map(|(at, sample)| (at, value(sample))).collect(),
        mine,
    }
}
