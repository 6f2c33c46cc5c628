// SPDX-License-Identifier: MIT OR Apache-2.0

//! What mappings, copies and calls cost, beside what else there is to share memory with.
//!
//! Every figure is of one run and one unit: instructions where the clock counts them, nanoseconds elsewhere.

mod calls;
mod chart;
mod clock;
mod copies;
mod goals;
mod html;
mod maps;
mod memory;
mod pictures;
mod report;
mod system;
mod table;
mod threads;

pub(crate) use calls::{answer, Kind};
pub(crate) use clock::Unit;
pub(crate) use html::page;
pub(crate) use pictures::pictures;
pub(crate) use report::Report;
pub(crate) use table::text;

use anyhow::Result;
use clock::Clock;
use report::Figure;
use std::fmt::Display;

/// What is to be measured.
pub(crate) struct Plan {
    /// The unit, if it is not to be found out.
    pub(crate) unit: Option<Unit>,
    /// The groups; all if there are none.
    pub(crate) groups: Vec<Group>,
    /// The largest memory that is used.
    pub(crate) largest: u64,
    /// Only what the goals are about.
    pub(crate) quick: bool,
    /// Whether the system's settings may be changed meanwhile.
    pub(crate) system: bool,
}

/// What belongs together.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// System calls that carry no data.
    Calls,
    /// Reads and writes.
    Copies,
    /// Mapping, touching, unmapping.
    Maps,
    /// Several threads at once; only where time is measured.
    Threads,
}

/// Measures; `tell` hears what comes next.
pub(crate) fn run(plan: &Plan, tell: impl Fn(&str)) -> Result<Report> {
    memory::remove_leftovers();
    let clock = Clock::new(plan.unit);
    let mut bench = Bench {
        largest: plan.largest.min(system::available() * 2 / 5),
        quick: plan.quick,
        system: plan.system,
        report: Report::new(clock.unit),
        clock,
        tell: &tell,
    };
    let wanted = |group| plan.groups.is_empty() || plan.groups.contains(&group);
    if wanted(Group::Calls) {
        calls::measure(&mut bench)?;
    }
    if wanted(Group::Copies) {
        copies::measure(&mut bench)?;
    }
    if wanted(Group::Maps) {
        maps::measure(&mut bench)?;
    }
    if wanted(Group::Threads) && bench.clock.unit == Unit::Nanoseconds {
        threads::measure(&mut bench)?;
    }
    Ok(bench.report)
}

/// A run.
struct Bench<'a> {
    clock: Clock,
    report: Report,
    largest: u64,
    quick: bool,
    system: bool,
    tell: &'a dyn Fn(&str),
}

impl Bench<'_> {
    /// Measures a call, and keeps the figure.
    fn take(
        &mut self,
        what: &str,
        who: &str,
        size: Option<u64>,
        act: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        self.say(what, who, size);
        let sample = self.clock.measure(act)?;
        self.report.figures.push(Figure {
            what: what.into(),
            who: who.into(),
            size,
            threads: None,
            sample,
        });
        Ok(())
    }

    /// Says what is measured next.
    fn say(&self, what: &str, who: &str, size: Option<u64>) {
        match size {
            Some(size) => (self.tell)(&format!("{what}, {}: {who}", table::size(size))),
            None => (self.tell)(&format!("{what}: {who}")),
        }
    }

    /// Notes what could not be measured, and why.
    fn leave_out(&mut self, what: &str, why: impl Display) {
        let note = format!("{what}: {why}");
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }
}
