// SPDX-License-Identifier: MIT OR Apache-2.0

//! What was measured.

use super::clock::{Sample, Unit};
use super::system;
use serde::{Deserialize, Serialize};

/// The figures of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What all of its figures are in.
    pub(crate) unit: Unit,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The processor's name, and how many there are.
    pub(crate) processor: String,
    pub(crate) processors: usize,
    /// Bytes of memory.
    pub(crate) memory: u64,
    pub(crate) figures: Vec<Figure>,
    /// What is missing, and why.
    pub(crate) notes: Vec<String>,
}

/// What one thing costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What is done.
    pub(crate) what: String,
    /// By or with whom.
    pub(crate) who: String,
    /// How many bytes it is done with.
    pub(crate) size: Option<u64>,
    /// How many threads do it at once.
    pub(crate) threads: Option<usize>,
    #[serde(flatten)]
    pub(crate) sample: Sample,
}

impl Report {
    /// A run of which nothing was measured yet, on this machine.
    pub(crate) fn new(unit: Unit) -> Self {
        Self {
            unit,
            kernel: system::kernel(),
            processor: system::processor(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: system::memory(),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The figure of this thing.
    pub(crate) fn find(&self, what: &str, who: &str, size: Option<u64>) -> Option<&Figure> {
        let is = |it: &&Figure| it.what == what && it.who == who && it.size == size;
        self.figures.iter().find(is)
    }

    /// The different ones of what is done, in the order in which they were measured.
    pub(crate) fn whats(&self) -> Vec<&str> {
        distinct(self.figures.iter().map(|it| it.what.as_str()))
    }

    /// Those who do it.
    pub(crate) fn whos(&self, what: &str) -> Vec<&str> {
        let of = self.figures.iter().filter(|it| it.what == what);
        distinct(of.map(|it| it.who.as_str()))
    }

    /// Who does it, against bytes or threads: points of a line.
    pub(crate) fn line(&self, what: &str, who: &str) -> Vec<(f64, Sample)> {
        // CAST: for a picture.
        let at = |it: &Figure| match (it.size, it.threads) {
            (_, Some(threads)) => threads as f64,
            (Some(size), None) => size as f64,
            (None, None) => 0.0,
        };
        let of = |it: &&Figure| it.what == what && it.who == who;
        let points = self.figures.iter().filter(of);
        points.map(|it| (at(it), it.sample)).collect()
    }
}

/// Each once, in order of the first.
pub(crate) fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.fold(Vec::new(), |mut list, it| {
        if !list.contains(&it) {
            list.push(it);
        }
        list
    })
}
