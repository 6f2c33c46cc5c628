// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which boot of the lab the tests are in: `CHRMEM_BOOT` is `plain`, `hardened` or `debug`.

use std::time::Duration;

/// The kernel with sanitizers, and tests that need them.
pub(crate) fn has_sanitizers() -> bool {
    std::env::var("CHRMEM_BOOT").is_ok_and(|boot| boot == "debug")
}

/// After this long a test hangs. None takes a tenth of it, also where the machine is emulated.
pub(crate) fn limit() -> Duration {
    Duration::from_secs(if has_sanitizers() { 1200 } else { 300 })
}
