// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sequences of random steps that can be said again: a step is a number, and what it does follows
//! from that number and from what was done before it.
//!
//! So a sequence is the same whenever it is started from the same number, any of its steps can be left
//! out, and the shortest one that still fails is found by leaving out more and more.

use fastrand::Rng;
use std::fmt;
use std::str::FromStr;

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
}

/// The search for the shortest sequence that still fails, by leaving out steps: half of them at once first,
/// then less and less, until no single one can be spared.
///
/// Its text is where the search is, so that it can go on after the machine was started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shrinker {
    /// The shortest one so far.
    best: Sequence,
    /// Steps that are left out at once, and from which on; none at all before the first candidate.
    chunk: usize,
    at: usize,
    /// Whether anything could be left out since the chunks got as small as they are.
    shrunk: bool,
}

impl Shrinker {
    /// The search that starts with a sequence that fails.
    pub(crate) fn new(best: Sequence) -> Self {
        Self {
            best,
            chunk: 0,
            at: 0,
            shrunk: false,
        }
    }

    /// The shortest one so far.
    pub(crate) fn best(&self) -> &Sequence {
        &self.best
    }

    /// The next one to try; `None` if there is none left.
    pub(crate) fn candidate(&mut self) -> Option<Sequence> {
        if self.chunk == 0 {
            self.chunk = self.best.steps.len().div_ceil(2);
        } else if self.at >= self.best.steps.len() {
            if self.chunk <= 1 && !self.shrunk {
                return None;
            }
            self.chunk = self.chunk.div_ceil(2);
            (self.at, self.shrunk) = (0, false);
        }
        self.tried()
    }

    /// The candidate that is being tried, if any.
    pub(crate) fn tried(&self) -> Option<Sequence> {
        if self.chunk == 0 || self.at >= self.best.steps.len() {
            return None;
        }
        let end = (self.at + self.chunk).min(self.best.steps.len());
        let mut candidate = self.best.clone();
        candidate.steps.drain(self.at..end);
        Some(candidate)
    }

    /// Goes on after the candidate was tried.
    pub(crate) fn judge(&mut self, candidate: Sequence, failed: bool) {
        if failed {
            (self.best, self.shrunk) = (candidate, true);
        } else {
            self.at += self.chunk;
        }
    }
}

impl fmt::Display for Shrinker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            best,
            chunk,
            at,
            shrunk,
        } = self;
        writeln!(f, "{chunk} {at} {shrunk} {best}")
    }
}

impl FromStr for Shrinker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [chunk, at, shrunk, best] = words[..] else {
            return Err(format!("{} words", words.len()));
        };
        let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
        Ok(Self {
            best: best.parse()?,
            chunk: number(chunk)?,
            at: number(at)?,
            shrunk: shrunk == "true",
        })
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

/// The shortest sequence that fails, and how many were tried. Each time, the search is written down and
/// read again.
fn shortest(whole: Sequence, fails: impl Fn(&Sequence) -> bool) -> (Sequence, usize) {
    let mut shrinker = Shrinker::new(whole);
    let mut tries = 0;
    while let Some(candidate) = shrinker.candidate() {
        tries += 1;
        let mut same: Shrinker = shrinker.to_string().parse().expect("a search");
        assert_eq!(same, shrinker);
        assert_eq!(same.tried().as_ref(), Some(&candidate));
        let failed = fails(&candidate);
        same.judge(candidate, failed);
        shrinker = same;
    }
    (shrinker.best, tries)
}

fn a_failing_sequence_is_shrunk_to_what_it_takes() {
    let whole = Sequence::new(1, 300);
    let needed = [whole.steps[17], whole.steps[18], whole.steps[250]];
    let (best, tries) = shortest(whole.clone(), |candidate| {
        let mut left = candidate.steps.iter();
        needed.iter().all(|step| left.any(|it| it == step))
    });
    assert_eq!(best.steps, needed);
    assert_eq!(best.setup, whole.setup);
    assert!(tries < 200, "{tries}");
    // What fails without any step is no step's fault.
    assert!(shortest(whole, |_| true).0.steps.is_empty());
}
