// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many tests passed and failed.

/// One test in so many may be left out on another processor or with other pages.
const LEFT_OUT_AT_MOST: u64 = 20;

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

    /// Takes the tests off that do not run on this processor, or with pages of this size: those of the table `left_out`, each with
    /// its reason, and no others. Where all tests were to run, the table must be true and short. `text` is the output.
    pub(crate) fn leave_out(
        &mut self,
        what: &str,
        text: &str,
        left_out: &[(&str, &str)],
        all: bool,
    ) {
        let skipped: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
                (end == "ignored").then_some(name.trim())
            })
            .collect();
        let is_skipped = |(name, _): &&(&str, &str)| skipped.contains(name);
        let known = left_out.iter().filter(is_skipped).count() as u64;
        let whole = self.all();
        self.ignored = self.ignored.saturating_sub(known);
        if !all {
            return;
        }
        for (name, _) in left_out.iter().filter(|entry| !is_skipped(entry)) {
            eprintln!("error: {name} is to be left out, and there is no such test in the {what}");
            self.failed += 1;
        }
        if known * LEFT_OUT_AT_MOST > whole {
            eprintln!("error: {known} of {whole} {what} are left out, which is too many");
            self.failed += 1;
        }
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
    fn only_what_is_in_the_table_is_left_out() {
        let text = "running 40 tests\ntest a::b    ... ignored\ntest a::long ... ok\ntest c::d ... ignored\n";
        let count = || Count {
            passed: 38,
            failed: 0,
            ignored: 2,
        };
        let (ab, cd) = (("a::b", "why"), ("c::d", "why"));
        let after = |left_out: &[(&str, &str)], all| {
            let mut count = count();
            count.leave_out("tests", text, left_out, all);
            (count.failed, count.ignored)
        };
        assert_eq!(after(&[ab, cd], true), (0, 0));
        // One that is not in the table, one that there is not.
        assert_eq!(after(&[ab], true), (0, 1));
        assert_eq!(after(&[ab, cd, ("e::f", "why")], true), (1, 0));
        assert_eq!(after(&[ab, cd, ("e::f", "why")], false), (0, 0));
        // Too many.
        let mut few = Count {
            passed: 37,
            ..count()
        };
        few.leave_out("tests", text, &[ab, cd], true);
        assert_eq!(few.failed, 1);
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
