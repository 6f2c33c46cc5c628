// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the guest prints, kept to be read.

use std::io::Write;
use std::sync::{Arc, Mutex};

/// What the guest prints, of which a copy is kept.
#[derive(Clone, Default)]
pub(crate) struct Tee {
    kept: Arc<Mutex<Kept>>,
    shown: Shown,
}

#[derive(Default)]
struct Kept {
    text: Vec<u8>,
    /// How much of it was shown.
    shown: usize,
}

/// What of it goes to standard output.
#[derive(Clone, Default)]
enum Shown {
    /// Everything, at once.
    #[default]
    All,
    /// Whole lines, with this before each.
    Lines(String),
    Nothing,
}

impl Tee {
    /// A copy alone.
    pub(crate) fn silent() -> Self {
        Self {
            shown: Shown::Nothing,
            ..Self::default()
        }
    }

    /// Lines that tell whose they are, where several print at the same time.
    pub(crate) fn of(who: &str) -> Self {
        Self {
            shown: Shown::Lines(format!("{who}: ")),
            ..Self::default()
        }
    }

    /// The copy, when there comes no more.
    pub(crate) fn text(&self) -> String {
        let Ok(mut kept) = self.kept.lock() else {
            return String::new();
        };
        if kept.shown < kept.text.len() && !kept.text.ends_with(b"\n") {
            // A line that was broken off is shown as well.
            kept.text.push(b'\n');
        }
        let _ = kept.show(&self.shown);
        String::from_utf8_lossy(&kept.text).into_owned()
    }
}

impl Kept {
    /// Shows what is new.
    fn show(&mut self, shown: &Shown) -> std::io::Result<()> {
        let new = &self.text[self.shown..];
        let mut stdout = std::io::stdout().lock();
        let count = match shown {
            Shown::Nothing => new.len(),
            Shown::All => {
                stdout.write_all(new)?;
                new.len()
            }
            Shown::Lines(who) => {
                let end = new.iter().rposition(|byte| *byte == b'\n');
                let whole = &new[..end.map_or(0, |end| end + 1)];
                for line in whole.split_inclusive(|byte| *byte == b'\n') {
                    stdout.write_all(&[who.as_bytes(), line].concat())?;
                }
                whole.len()
            }
        };
        self.shown += count;
        stdout.flush()
    }
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Ok(mut kept) = self.kept.lock() {
            kept.text.extend(bytes);
            kept.show(&self.shown)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tee;
    use std::io::Write;

    #[test]
    fn a_line_that_breaks_off_is_kept_as_well() {
        for mut tee in [Tee::silent(), Tee::of("somebody")] {
            tee.write_all(b"one\ntwo\nthr").expect("memory");
            tee.write_all(b"ee").expect("memory");
            assert_eq!(tee.text().trim_end(), "one\ntwo\nthree");
        }
    }
}
