// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sequences of random steps that can be said again: a step is a number, and what it does follows
//! from that number and from what was done before it.
//!
//! So a sequence is the same whenever it is started from the same number, any of its steps can be left
//! out, and the shortest one that still fails is found by leaving out more and more.

use fastrand::Rng;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What a random test does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// What the device is like follows from this one.
    pub(crate) setup: u64,
    /// The steps.
    pub(crate) steps: Vec<u64>,
}

impl Sequence {
    /// The sequence of so many steps that a number starts.
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        let mut random = Rng::with_seed(seed);
        Self {
            setup: random.u64(..),
            steps: (0..steps).map(|_| random.u64(..)).collect(),
        }
    }

    /// Makes the shortest sequence that still fails of this one, which does, by leaving out steps: half of
    /// them at once first, then less and less, until no single one can be spared or `limit` is over.
    pub(crate) fn shrink(self, limit: Duration, mut fails: impl FnMut(&Self) -> bool) -> Self {
        let mut shrinker = Shrinker::new(self);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let Some(candidate) = shrinker.candidate() else {
                break;
            };
            let failed = fails(&candidate);
            shrinker.judge(candidate, failed);
        }
        shrinker.best
    }
}

/// How far the search for the shortest sequence is.
struct Shrinker {
    /// The shortest one so far.
    best: Sequence,
    /// Steps that are left out at once, and from which on.
    chunk: usize,
    at: usize,
    /// Whether anything could be left out since the chunks got as small as they are.
    shrunk: bool,
}

impl Shrinker {
    fn new(best: Sequence) -> Self {
        let chunk = best.steps.len().div_ceil(2);
        Self {
            best,
            chunk,
            at: 0,
            shrunk: false,
        }
    }

    /// The next one to try; `None` if there is none left.
    fn candidate(&mut self) -> Option<Sequence> {
        if self.at >= self.best.steps.len() {
            if self.chunk <= 1 && !self.shrunk {
                return None;
            }
            if !self.shrunk || self.chunk > 1 {
                self.chunk = self.chunk.div_ceil(2).max(1);
            }
            (self.at, self.shrunk) = (0, false);
        }
        if self.best.steps.is_empty() {
            return None;
        }
        let end = (self.at + self.chunk).min(self.best.steps.len());
        let mut candidate = self.best.clone();
        candidate.steps.drain(self.at..end);
        Some(candidate)
    }

    /// Goes on after the candidate was tried.
    fn judge(&mut self, candidate: Sequence, failed: bool) {
        if failed {
            (self.best, self.shrunk) = (candidate, true);
        } else {
            self.at += self.chunk;
        }
    }
}

impl fmt::Display for Sequence {
    /// Numbers in hexadecimal: that of the setup, a colon, those of the steps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:", self.setup)?;
        for (index, step) in self.steps.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{step:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Sequence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            u64::from_str_radix(text, 16).map_err(|error| format!("{text:?}: {error}"))
        };
        let (setup, steps) = text.trim().split_once(':').ok_or("no colon")?;
        Ok(Self {
            setup: number(setup)?,
            steps: steps
                .split(',')
                .filter(|step| !step.is_empty())
                .map(number)
                .collect::<Result<_, _>>()?,
        })
    }
}

crate::tests! {
    a_sequence_is_its_seed_s
    a_sequence_is_read_as_it_was_written
    a_failing_sequence_is_shrunk_to_what_it_takes
}

fn a_sequence_is_its_seed_s() {
    assert_eq!(Sequence::new(7, 100), Sequence::new(7, 100));
    assert_ne!(Sequence::new(7, 100), Sequence::new(8, 100));
    // A longer one starts as a shorter one does.
    assert_eq!(
        Sequence::new(7, 200).steps[..100],
        Sequence::new(7, 100).steps
    );
}

fn a_sequence_is_read_as_it_was_written() {
    for steps in [0, 1, 2, 50] {
        let sequence = Sequence::new(3, steps);
        assert_eq!(sequence.to_string().parse(), Ok(sequence));
    }
    assert!("".parse::<Sequence>().is_err());
    assert!("1:2,x".parse::<Sequence>().is_err());
}

fn a_failing_sequence_is_shrunk_to_what_it_takes() {
    let whole = Sequence::new(1, 300);
    let needed = [whole.steps[17], whole.steps[18], whole.steps[250]];
    let (mut tries, limit) = (0, Duration::from_secs(60));
    let shortest = whole.clone().shrink(limit, |candidate| {
        tries += 1;
        let mut left = candidate.steps.iter();
        needed.iter().all(|step| left.any(|it| it == step))
    });
    assert_eq!(shortest.steps, needed);
    assert_eq!(shortest.setup, whole.setup);
    assert!(tries < 200, "{tries}");
    // What fails without any step is no step's fault.
    assert!(whole.shrink(limit, |_| true).steps.is_empty());
}
