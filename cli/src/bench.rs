// SPDX-License-Identifier: MIT OR Apache-2.0

//! What mappings, copies and calls cost, beside what else there is to share memory with.
//!
//! Every figure is of one run and one unit: instructions where the clock counts them, nanoseconds elsewhere.

mod calls;
mod chart;
mod clock;
mod copies;
mod frames;
mod goals;
mod html;
mod maps;
mod memory;
mod pictures;
mod report;
mod system;
mod table;
mod threads;
mod track;

pub(crate) use calls::{answer, Kind};
pub(crate) use clock::Unit;
pub(crate) use html::page;
pub(crate) use pictures::pictures;
pub(crate) use report::Report;
pub(crate) use table::{markdown, text};

use anyhow::{bail, Context, Result};
use clock::Clock;
use report::Figure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

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
    /// A BAR whose memory may be overwritten.
    pub(crate) bar: Option<PathBuf>,
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
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second one does not wait for what is being measured.
        flag::register_conditional_shutdown(signal, 1, ended.clone())
            .and_then(|_| flag::register(signal, ended.clone()))
            .context("cannot wait for signals")?;
    }
    let mut bench = Bench {
        largest: whole(plan.largest.min(system::available() * 2 / 5)),
        quick: plan.quick,
        system: plan.system,
        report: Report::new(clock.unit),
        clock,
        ended,
        tell: &tell,
    };
    let wanted = |group| plan.groups.is_empty() || plan.groups.contains(&group);
    if wanted(Group::Calls) {
        calls::measure(&mut bench)?;
        track::measure(&mut bench)?;
    }
    if wanted(Group::Copies) {
        copies::measure(&mut bench)?;
    }
    if wanted(Group::Maps) {
        maps::measure(&mut bench)?;
        frames::measure(&mut bench, plan.bar.as_deref())?;
    }
    if wanted(Group::Threads) && bench.clock.unit == Unit::Nanoseconds {
        threads::measure(&mut bench)?;
    }
    Ok(bench.report)
}

/// Not more than `bytes`: whole huge pages, or at least whole pages.
fn whole(bytes: u64) -> u64 {
    let page = if bytes < maps::HUGE { 4096 } else { maps::HUGE };
    (bytes - bytes % page).max(4096)
}

/// A run.
struct Bench<'a> {
    clock: Clock,
    report: Report,
    largest: u64,
    quick: bool,
    system: bool,
    /// Whether a signal has asked for the end.
    ended: Arc<AtomicBool>,
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
        self.say(what, who, size)?;
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

    /// Says what is measured next, if there is to be anything: devices and settings go the usual way.
    fn say(&self, what: &str, who: &str, size: Option<u64>) -> Result<()> {
        if self.ended.load(Ordering::Relaxed) {
            bail!("ended by a signal");
        }
        match size {
            Some(size) => (self.tell)(&format!("{what}, {}: {who}", table::size(size))),
            None => (self.tell)(&format!("{what}: {who}")),
        }
        Ok(())
    }

    /// Notes what could not be measured, and why.
    fn leave_out(&mut self, what: &str, why: impl Display) {
        let note = format!("{what}: {why}");
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::whole;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn memory_is_of_whole_pages(bytes: u64) {
            let whole = whole(bytes);
            prop_assert!(whole >= 4096 && whole % 4096 == 0);
            prop_assert!(whole <= bytes.max(4096) && bytes - whole.min(bytes) < 2 << 20);
            prop_assert!(whole < 2 << 20 || whole % (2 << 20) == 0);
        }
    }
}
