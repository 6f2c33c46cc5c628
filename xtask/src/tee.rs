// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the guest prints, kept to be read.

use std::io::Write;
use std::sync::{Arc, Mutex};

/// Standard output, of which a copy is kept.
#[derive(Clone, Default)]
pub(crate) struct Tee {
    copy: Arc<Mutex<Vec<u8>>>,
    silent: bool,
}

impl Tee {
    /// A copy alone.
    pub(crate) fn silent() -> Self {
        Self {
            silent: true,
            ..Self::default()
        }
    }

    /// The copy.
    pub(crate) fn text(&self) -> String {
        self.copy
            .lock()
            .map(|copy| String::from_utf8_lossy(&copy).into_owned())
            .unwrap_or_default()
    }
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = match self.silent {
            true => bytes.len(),
            false => std::io::stdout().write(bytes)?,
        };
        if let Ok(mut copy) = self.copy.lock() {
            copy.extend(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}
