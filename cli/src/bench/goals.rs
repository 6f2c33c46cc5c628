// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the driver is to reach, as ratios to a peer in the same run, or to whichever peer is the cheapest.
//!
//! They are about instructions. Where time is measured, the ratios are shown and not judged.

use super::clock::Unit;
use super::frames::{BAR, DMA};
use super::maps::{HUGE, LARGE, MAP, MAP_ODD, MAP_OFF, MAP_SMALL, PIN, SIZES};
use super::report::{Figure, Report};
use super::track::{NOTIFIED, STORE, TRACKED, WAKE};

/// A goal and what came of it.
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// What was measured, of the driver and of the peer.
    pub(crate) mine: f64,
    pub(crate) peer: Option<(String, f64)>,
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

/// Whichever of them is the cheapest; but hugetlb's memory is from a pool that has to be put aside before.
const CHEAPEST: &str = "the cheapest peer";
const HUGETLB: &str = "memfd, hugetlb";

/// Goals for each of [`SIZES`].
fn of_sizes() -> impl Iterator<Item = Goal> {
    SIZES.into_iter().flat_map(|size| {
        let limit = match size >> 10 {
            4 | 64 => 1.02,
            _ => 1.00,
        };
        let cheapest = (MAP, Some(size), "chrmem", Some(CHEAPEST), limit);
        let pool = (MAP, Some(size), "chrmem", Some(HUGETLB), 1.05);
        [Some(cheapest), (size >= HUGE).then_some(pool)]
            .into_iter()
            .flatten()
    })
}

const GOALS: &[Goal] = &[
    (MAP, Some(4 << 10), "chrmem", Some("memfd"), 0.82),
    (
        MAP_ODD,
        Some(1 << 20),
        "chrmem",
        Some("memfd, populated"),
        1.00,
    ),
    (
        MAP_ODD,
        Some(LARGE),
        "chrmem",
        Some("memfd, populated"),
        1.00,
    ),
    (MAP_OFF, Some(LARGE), "chrmem", Some("memfd"), 0.005),
    (MAP_SMALL, Some(LARGE), "chrmem", Some("memfd"), 0.04),
    (BAR, Some(LARGE), "chrmem", Some("pages"), 1.10),
    (DMA, None, "chrmem", Some("pages"), 1.10),
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
        1.25,
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
    (PIN, Some(1 << 20), "chrmem", Some("memfd"), 1.00),
    (PIN, Some(LARGE), "chrmem", Some("memfd"), 0.08),
];

/// What came of the goals that a report has figures for.
pub(crate) fn outcomes(report: &Report) -> Vec<Outcome> {
    let outcome = |(what, size, who, peer, limit): Goal| {
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
            Some(CHEAPEST) => Some(cheapest(report, what, size, who)?),
            Some(peer) => Some((peer.to_owned(), find(peer)?.1)),
            None => None,
        };
        let value = peer.as_ref().map_or(mine, |(_, peer)| mine / peer);
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
    of_sizes()
        .chain(GOALS.iter().copied())
        .filter_map(outcome)
        .collect()
}

/// The peer that does this for the least, and for how much.
fn cheapest(report: &Report, what: &str, size: Option<u64>, who: &str) -> Option<(String, f64)> {
    let is_peer =
        |it: &&Figure| it.what == what && it.size == size && it.who != who && it.who != HUGETLB;
    let peers = report.figures.iter().filter(is_peer);
    let peer = peers.min_by(|a, b| a.sample.median.total_cmp(&b.sample.median))?;
    Some((peer.who.clone(), peer.sample.median))
}

/// A limit or a value as people say it: `1/200` rather than `0.005`.
pub(crate) fn say(value: f64) -> String {
    match value {
        _ if value > 100.0 => super::table::number(value),
        _ if value < 0.05 => format!("1/{:.0}", 1.0 / value),
        _ => format!("{value:.2}"),
    }
}
