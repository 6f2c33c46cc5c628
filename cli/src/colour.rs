// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether output has colours: not if it is no terminal, or `NO_COLOR` is set.

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use std::borrow::Cow;
use std::io::stdout;

/// Whether standard output is to have colours.
pub(crate) fn is_wanted() -> bool {
    AutoStream::choice(&stdout()) != ColorChoice::Never
}

/// Text for standard output: without its colours where they are not wanted.
pub(crate) fn strip_unless_wanted(text: &str) -> Cow<'_, str> {
    if is_wanted() {
        text.into()
    } else {
        strip_str(text).to_string().into()
    }
}
