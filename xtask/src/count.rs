// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many tests passed and failed.

/// Adds up what test programs report.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    ignored: u64,
}

impl Count {
    /// What counts where tests could not run.
    pub(crate) fn broken(error: anyhow::Error) -> Self {
        eprintln!("error: {error:#}");
        Self {
            failed: 1,
            ..Self::default()
        }
    }

    /// Takes in a line of a test program if it is a summary: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let mut words = part.split(' ');
            let number = words
                .next()
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap_or_default();
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.ignored += number,
                _ => {}
            }
        }
    }

    /// How many ran, or should have.
    pub(crate) fn all(&self) -> u64 {
        self.passed + self.failed + self.ignored
    }

    /// Counts as failed what no test program reported as such: tests that CI skips, and programs that broke off.
    pub(crate) fn judge(&mut self, what: &str, succeeded: bool) {
        if self.ignored > 0 && std::env::var_os("CI").is_some() {
            eprintln!(
                "error: {} {what} were skipped, which CI does not accept",
                self.ignored
            );
            self.failed += self.ignored;
        }
        if !succeeded && self.failed == 0 {
            eprintln!("error: the {what} did not come to their end");
            self.failed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn summaries_add_up() {
        let mut count = Count::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a ... ok",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out",
        ] {
            count.add(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 13,
                failed: 2,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_crash_is_a_failure() {
        let mut count = Count {
            passed: 3,
            ..Count::default()
        };
        count.judge("tests", false);
        assert_eq!(count.failed, 1);
    }
}
