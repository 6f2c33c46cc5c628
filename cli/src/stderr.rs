// SPDX-License-Identifier: MIT OR Apache-2.0

//! Standard error, where there may be nobody to read it.

use std::fmt::Display;
use std::io::{self, Write};

/// Says something in a line. A standard error that is full or closed is no reason to end otherwise.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
