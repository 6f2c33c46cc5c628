// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a run prints, shown and kept.

use std::io::Write;
use std::sync::{Arc, Mutex};

/// Standard output, of which a copy is kept.
#[derive(Clone, Default)]
pub(crate) struct Tee(Arc<Mutex<Vec<u8>>>);

impl Tee {
    /// The copy.
    pub(crate) fn text(&self) -> String {
        self.0
            .lock()
            .map(|copy| String::from_utf8_lossy(&copy).into_owned())
            .unwrap_or_default()
    }
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = std::io::stdout().write(bytes)?;
        if let Ok(mut copy) = self.0.lock() {
            copy.extend(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}
