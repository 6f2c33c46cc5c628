// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which boot of the lab the tests are in: `CHRMEM_BOOT` is `plain`, `hardened` or `debug`.

use std::time::Duration;

/// The kernel with sanitizers, and tests that need them.
pub(crate) fn has_sanitizers() -> bool {
    is("debug")
}

/// The stock kernel, with what it has to find mistakes with.
pub(crate) fn is_hardened() -> bool {
    is("hardened")
}

fn is(name: &str) -> bool {
    std::env::var("CHRMEM_BOOT").is_ok_and(|boot| boot == name)
}

/// Whether the file of tests with this number, from 0, is in the part that is to run: `CHRMEM_PART` is `1/2` for every second file
/// from the first on.
pub(crate) fn is_for(file: usize) -> bool {
    let Ok(text) = std::env::var("CHRMEM_PART") else {
        return true;
    };
    let number = |text: &str| text.parse::<usize>().expect("CHRMEM_PART is a fraction");
    let (part, parts) = text.split_once('/').expect("CHRMEM_PART is a fraction");
    file % number(parts) + 1 == number(part)
}

/// After this long a test hangs. None takes a tenth of it, also where the machine is emulated.
pub(crate) fn limit() -> Duration {
    Duration::from_secs(if has_sanitizers() { 1200 } else { 300 })
}
