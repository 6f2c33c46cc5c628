// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs of random sequences, one after another, until so many steps are done or one fails; that one is
//! then made as short as can be, and told.
//!
//! | variable | says |
//! |---|---|
//! | `CHRMEM_SEED` | the number of the first run; the next ones have the numbers that follow (1) |
//! | `CHRMEM_STEPS` | how many steps in all, or `forever`; without it, as many as there is time for in the tests |
//! | `CHRMEM_SEQUENCE` | the one sequence to run, as a failure prints it, and to say what it does |

use crate::sequence::Sequence;
use std::env;
use std::time::{Duration, Instant};

/// How long a test may look for the shortest sequence.
const SHRINK_LIMIT: Duration = Duration::from_secs(50);

/// A random test.
pub(crate) struct Campaign<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// How many steps there is time for in the tests, and how many of them are one run.
    pub(crate) steps: u64,
    pub(crate) run_steps: usize,
    /// Runs a sequence: false if it fails. Prints nothing; or, if the flag is set, what it does and why
    /// it fails.
    pub(crate) run: &'a dyn Fn(&Sequence, bool) -> bool,
}

/// How long a test may take that the environment makes longer than tests are.
pub(crate) fn limit() -> Option<Duration> {
    let set = |name| env::var_os(name).is_some();
    (set("CHRMEM_STEPS") || set("CHRMEM_SEQUENCE")).then_some(Duration::from_secs(1 << 30))
}

/// The number that random tests start from.
pub(crate) fn seed() -> u64 {
    env::var("CHRMEM_SEED").map_or(1, |text| text.parse().expect("CHRMEM_SEED is a number"))
}

impl Campaign<'_> {
    /// Runs it.
    pub(crate) fn run(&self) {
        if let Ok(text) = env::var("CHRMEM_SEQUENCE") {
            let sequence = text.parse().expect("CHRMEM_SEQUENCE is a sequence");
            assert!((self.run)(&sequence, true), "it fails");
            return;
        }
        let seed = seed();
        let steps = match env::var("CHRMEM_STEPS").as_deref() {
            Err(_) => self.steps,
            Ok("forever") => u64::MAX,
            Ok(text) => text.parse().expect("CHRMEM_STEPS is a number"),
        };
        eprintln!("{}: CHRMEM_SEED={seed}", self.name);
        let start = Instant::now();
        let (mut run, mut done) = (0, 0);
        while done < steps {
            let number = seed.wrapping_add(run);
            let sequence = Sequence::new(number, self.run_steps);
            if !(self.run)(&sequence, false) {
                self.fail(number, sequence);
            }
            run += 1;
            done += self.run_steps as u64;
            if run % 100 == 0 {
                self.report(run, done, start);
            }
        }
        self.report(run, done, start);
    }

    fn report(&self, runs: u64, steps: u64, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        eprintln!(
            "{}: {steps} steps in {runs} runs and {seconds:.1} s: {:.0} a second",
            self.name,
            steps as f64 / seconds
        );
    }

    /// Tells a sequence that fails, and the shortest that does.
    fn fail(&self, number: u64, sequence: Sequence) -> ! {
        let (name, all) = (self.name, sequence.steps.len());
        eprintln!("{name}: CHRMEM_SEED={number} CHRMEM_STEPS={all} fails; making it shorter");
        let limit = limit().unwrap_or(SHRINK_LIMIT);
        let shortest = sequence.shrink(limit, |candidate| !(self.run)(candidate, false));
        let fails_again = !(self.run)(&shortest, true);
        let again = if fails_again {
            ""
        } else {
            ", though not always"
        };
        panic!(
            "{name}: {} of {all} steps do it{again}: CHRMEM_SEQUENCE={shortest}",
            shortest.steps.len()
        );
    }
}
