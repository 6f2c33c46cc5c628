// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the driver is to reach, as ratios to a peer in the same run.
//!
//! They are about instructions. Where time is measured, the ratios are shown and not judged.

use super::clock::Unit;
use super::maps::{LARGE, MAP, MAP_SMALL};
use super::report::Report;
use super::track::{NOTIFIED, STORE, TRACKED, WAKE};

/// A goal and what came of it.
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// What was measured, of the driver and of the peer.
    pub(crate) mine: f64,
    pub(crate) peer: Option<(&'static str, f64)>,
    /// The ratio, or the figure itself where there is no peer.
    pub(crate) value: f64,
    pub(crate) limit: f64,
    /// Nothing where it is not judged.
    pub(crate) met: Option<bool>,
}

/// What is done, with how many bytes, by whom, compared with whom, and how much it may be.
type Goal = (
    &'static str,
    Option<u64>,
    &'static str,
    Option<&'static str>,
    f64,
);

const GOALS: &[Goal] = &[
    (MAP, Some(LARGE), "chrmem", Some("memfd"), 1.0 / 200.0),
    (MAP, Some(LARGE), "chrmem", Some("dma-heap"), 1.0 / 40.0),
    (MAP, Some(LARGE), "chrmem", Some("memfd, hugetlb"), 1.10),
    (MAP, Some(4 << 10), "chrmem", Some("memfd"), 0.80),
    (MAP_SMALL, Some(LARGE), "chrmem", Some("memfd"), 0.40),
    ("dearest touch of a page", None, "chrmem", None, 8000.0),
    (
        "sum of all words",
        Some(LARGE),
        "chrmem",
        Some("memfd"),
        1.0,
    ),
    ("pread", Some(4 << 10), "chrmem", Some("memfd"), 0.90),
    ("pwrite", Some(4 << 10), "chrmem", Some("memfd"), 0.90),
    ("pread", Some(1 << 20), "chrmem", Some("memfd"), 0.55),
    ("pwrite", Some(1 << 20), "chrmem", Some("memfd"), 0.55),
    (
        "ioctl",
        None,
        "chrmem INFO",
        Some("/dev/null, failing"),
        1.2,
    ),
    ("open and close", None, "chrmem", Some("/dev/null"), 1.2),
    (
        "notify and be answered",
        None,
        "chrmem",
        Some("eventfd"),
        1.2,
    ),
    (STORE, None, TRACKED, Some("memfd"), 1.3),
    (WAKE, None, TRACKED, Some(NOTIFIED), 1.3),
    (
        "pin for io_uring, unpin",
        Some(LARGE),
        "chrmem",
        Some("memfd"),
        0.12,
    ),
];

/// What came of the goals that a report has figures for.
pub(crate) fn outcomes(report: &Report) -> Vec<Outcome> {
    let outcome = |&(what, size, who, peer, limit): &Goal| {
        let find = |who: &str| {
            // Of the largest size, where none is said.
            let size = size.or_else(|| {
                let of = report.figures.iter().filter(|it| it.what == what);
                of.filter(|it| it.who == who).filter_map(|it| it.size).max()
            });
            let figure = report.find(what, who, size)?;
            Some((size, figure.sample.median))
        };
        let (found, mine) = find(who)?;
        let peer = match peer {
            Some(peer) => Some((peer, find(peer)?.1)),
            None => None,
        };
        let value = peer.map_or(mine, |(_, peer)| mine / peer);
        Some(Outcome {
            name: match found {
                Some(size) => format!("{what}, {}", super::table::size(size)),
                None => what.to_owned(),
            },
            mine,
            peer,
            value,
            limit,
            // The last digit shown may be rounded in favour.
            met: (report.unit == Unit::Instructions).then_some(value <= limit + 0.0005),
        })
    };
    GOALS.iter().filter_map(outcome).collect()
}

/// A limit or a value as people say it: `1/200` rather than `0.005`.
pub(crate) fn say(value: f64) -> String {
    match value {
        _ if value > 100.0 => super::table::number(value),
        _ if value < 0.05 => format!("1/{:.0}", 1.0 / value),
        _ => format!("{value:.2}"),
    }
}
