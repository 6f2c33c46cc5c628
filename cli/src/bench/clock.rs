// SPDX-License-Identifier: MIT OR Apache-2.0

//! The clock, and what it counts.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::Instant;

/// What figures are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Instructions, of this process and of the kernel for it.
    Instructions,
    /// Billionths of a second.
    Nanoseconds,
}

/// What repetitions of a call cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The one in the middle.
    pub(crate) median: f64,
    /// The cheapest.
    pub(crate) low: f64,
    /// The one that nine of ten are cheaper than.
    pub(crate) high: f64,
    /// How many there were.
    pub(crate) repetitions: u32,
}

impl Sample {
    /// Of measured values, of which there must be one.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values[(values.len() - 1) * percent / 100];
        Self {
            median: at(50),
            low: at(0),
            high: at(90),
            repetitions: u32::try_from(values.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Calls are repeated about so long, in the clock's units.
const BUDGET: f64 = 200e6;

/// So often at least and at most.
const REPETITIONS: (f64, f64) = (5.0, 101.0);

/// What is cheaper than this is called several times between two looks at the clock.
const WORTH_A_LOOK: f64 = 4000.0;

/// A clock.
pub(crate) struct Clock {
    pub(crate) unit: Unit,
    /// What two looks at it cost.
    look: f64,
}

impl Clock {
    /// The system's clock, which counts `unit`; that is found out if it is not said.
    pub(crate) fn new(unit: Option<Unit>) -> Self {
        let look = Sample::of((0..100).map(|_| elapsed(|| ())).collect()).median;
        let unit = unit.unwrap_or_else(|| match counts_instructions(look) {
            true => Unit::Instructions,
            false => Unit::Nanoseconds,
        });
        Self { unit, look }
    }

    /// What something costs, once.
    pub(crate) fn once(&self, act: impl FnOnce()) -> f64 {
        (elapsed(act) - self.look).max(0.0)
    }

    /// What a call costs: warmed up, and repeated as often as its price allows.
    pub(crate) fn measure(&self, mut act: impl FnMut() -> Result<()>) -> Result<Sample> {
        act()?;
        act()?;
        let mut result = Ok(());
        let mut time = |calls: u32| {
            let cost = self.once(|| {
                for _ in 0..calls {
                    if let Err(error) = act() {
                        result = Err(error);
                    }
                }
            });
            cost / f64::from(calls)
        };
        let price = time(1).max(1.0);
        let calls = (WORTH_A_LOOK / price).ceil().clamp(1.0, 1000.0);
        let repetitions = (BUDGET / price / calls).clamp(REPETITIONS.0, REPETITIONS.1);
        // CAST: both are small.
        let values = (0..repetitions as u32).map(|_| time(calls as u32));
        let sample = Sample::of(values.collect());
        result.map(|()| sample)
    }
}

/// What passes between two looks at the clock.
fn elapsed(act: impl FnOnce()) -> f64 {
    let start = Instant::now();
    act();
    // CAST: what is measured takes no days.
    start.elapsed().as_nanos() as f64
}

/// Whether the clock counts one for each instruction, as an emulator's can: then a round of a loop
/// costs the same whole number whatever is in it, each time.
fn counts_instructions(look: f64) -> bool {
    const ROUNDS: u32 = 200_000;
    let cost = |round: fn(u64) -> u64| {
        let run = || {
            elapsed(|| {
                let mut value = 0x1234_5678_9abc_def1;
                for _ in 0..ROUNDS {
                    value = black_box(round(value));
                }
                black_box(value);
            })
        };
        let best = (0..5).map(|_| run()).fold(f64::INFINITY, f64::min);
        (best - look) / f64::from(ROUNDS)
    };
    // Cheap ones, and one that takes any real processor longer.
    let rounds: [fn(u64) -> u64; 3] = [
        |value| value.wrapping_add(3),
        |value| value.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 5,
        |value| value ^ (0xffff_ffff_ffff_fff1 / (value | 1)),
    ];
    rounds.into_iter().map(cost).all(|cost| {
        let whole = cost.round();
        whole >= 2.0 && (cost - whole).abs() < 0.01
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_told_by_three_of_its_values() {
        let sample = Sample::of((1..=101).rev().map(f64::from).collect());
        assert_eq!((sample.low, sample.median, sample.high), (1.0, 51.0, 91.0));
        assert_eq!(sample.repetitions, 101);
        let single = Sample::of(vec![7.0]);
        assert_eq!((single.low, single.median, single.high), (7.0, 7.0, 7.0));
    }

    #[test]
    fn a_real_processor_does_not_count_instructions() {
        assert_eq!(Clock::new(None).unit, Unit::Nanoseconds);
        assert_eq!(
            Clock::new(Some(Unit::Instructions)).unit,
            Unit::Instructions
        );
    }

    #[test]
    fn an_error_ends_up_where_it_was_asked_for() {
        let clock = Clock::new(Some(Unit::Nanoseconds));
        let mut calls = 0;
        let result = clock.measure(|| {
            calls += 1;
            anyhow::ensure!(calls != 10, "the tenth fails");
            Ok(())
        });
        assert_eq!(result.unwrap_err().to_string(), "the tenth fails");
    }
}
