// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs of random sequences, one after another, until so many steps are done or one fails; that one is
//! then made as short as can be, and told.
//!
//! | variable | says |
//! |---|---|
//! | `CHRMEM_SEED` | the number of the first run; the next ones have the numbers that follow (1) |
//! | `CHRMEM_STEPS` | how many steps in all, or `forever`; without it, as many as there is time for in the tests |
//! | `CHRMEM_SEQUENCE` | the one sequence to run, as a failure prints it, and to say what it does |
//! | `CHRMEM_JOURNAL` | a file that outlives the machine, in which each sequence is written down before it runs: one that the kernel does not survive is known, and made shorter, at the next start |

use crate::kmsg;
use crate::report::fact;
use crate::sequence::{Sequence, Shrinker};
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
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
    /// Runs a sequence: false if it fails.
    pub(crate) run: &'a dyn Fn(&Sequence, Say) -> bool,
}

/// What a run prints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    /// Nothing.
    Nothing,
    /// Why it fails.
    Why,
    /// That, and each step.
    All,
}

impl Say {
    /// Silences a process that nobody is to hear.
    pub(crate) fn obey(self) {
        if self == Self::Nothing {
            std::panic::set_hook(Box::new(|_| {}));
        }
    }
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
    /// How many steps it takes in all.
    pub(crate) fn steps(&self) -> u64 {
        match env::var("CHRMEM_STEPS").as_deref() {
            Err(_) => self.steps,
            Ok("forever") => u64::MAX,
            Ok(text) => text.parse().expect("CHRMEM_STEPS is a number"),
        }
    }

    /// Runs it; tells how many steps were taken as a fact.
    pub(crate) fn run(&self, group: &str, what: &str) {
        if let Ok(text) = env::var("CHRMEM_SEQUENCE") {
            let sequence = text.parse().expect("CHRMEM_SEQUENCE is a sequence");
            assert!((self.run)(&sequence, Say::All), "it fails");
            return;
        }
        let journal = Journal::of_environment();
        if let Some(shrinker) = journal.as_ref().and_then(Journal::read) {
            eprintln!(
                "{}: the last run ended the machine; making it shorter",
                self.name
            );
            self.shorten(shrinker, journal.as_ref());
        }
        let seed = seed();
        let steps = self.steps();
        eprintln!("{}: CHRMEM_SEED={seed}", self.name);
        let start = Instant::now();
        let (mut run, mut done) = (0, 0);
        while done < steps {
            let number = seed.wrapping_add(run);
            let sequence = Sequence::new(number, self.run_steps);
            // If the kernel does not survive it, this is the last that it says.
            kmsg::say(&format!("{}: CHRMEM_SEED={number}", self.name));
            if let Some(journal) = &journal {
                journal.write(&Shrinker::new(sequence.clone()));
            }
            if !(self.run)(&sequence, Say::Why) {
                eprintln!(
                    "{}: CHRMEM_SEED={number} fails; making it shorter",
                    self.name
                );
                self.shorten(Shrinker::new(sequence), journal.as_ref());
            }
            run += 1;
            done += self.run_steps as u64;
            if run % 100 == 0 {
                self.report(run, done, start);
            }
        }
        self.report(run, done, start);
        fact(group, what, done);
        if let Some(journal) = &journal {
            journal.remove();
        }
    }

    fn report(&self, runs: u64, steps: u64, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        eprintln!(
            "{}: {steps} steps in {runs} runs and {seconds:.1} s: {:.0} a second",
            self.name,
            steps as f64 / seconds
        );
    }

    /// Makes a sequence that fails as short as can be, and tells it.
    fn shorten(&self, mut shrinker: Shrinker, journal: Option<&Journal>) -> ! {
        let deadline = Instant::now() + limit().unwrap_or(SHRINK_LIMIT);
        while Instant::now() < deadline {
            let Some(candidate) = shrinker.candidate() else {
                break;
            };
            if let Some(journal) = journal {
                journal.write(&shrinker);
            }
            let failed = !(self.run)(&candidate, Say::Nothing);
            shrinker.judge(candidate, failed);
        }
        if let Some(journal) = journal {
            journal.remove();
        }
        let (name, shortest) = (self.name, shrinker.best());
        let steps = shortest.steps.len();
        // Last, because the kernel may not survive it.
        eprintln!("{name}: {steps} steps do it: CHRMEM_SEQUENCE={shortest}");
        let fails_again = !(self.run)(shortest, Say::All);
        let again = if fails_again {
            ""
        } else {
            ", though not always"
        };
        panic!("{name}: it fails{again}");
    }
}

/// What is being tried, in a file that outlives the machine.
struct Journal(PathBuf);

impl Journal {
    /// The one that the environment names.
    fn of_environment() -> Option<Self> {
        env::var_os("CHRMEM_JOURNAL").map(|path| Self(path.into()))
    }

    /// What was being tried when the machine ended: the search goes on after that, which failed.
    fn read(&self) -> Option<Shrinker> {
        let text = fs::read_to_string(&self.0).ok()?;
        let mut shrinker: Shrinker = text.parse().expect("a journal");
        if let Some(candidate) = shrinker.tried() {
            shrinker.judge(candidate, true);
        }
        Some(shrinker)
    }

    /// Writes down what is tried now, for good.
    fn write(&self, shrinker: &Shrinker) {
        let new = self.0.with_extension("new");
        let mut file = File::create(&new).expect("the journal");
        file.write_all(shrinker.to_string().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, &self.0))
            .expect("the journal");
    }

    /// Nothing is tried any more.
    fn remove(&self) {
        fs::remove_file(&self.0).expect("the journal");
    }
}
