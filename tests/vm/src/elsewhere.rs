// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests that do not run on every processor, each with its reason. The runner of the tests, which has this file by its
//! path, accepts no others and checks that they are few.

/// Tests that do not run on arm64.
const NOT_ON_ARM64: &[(&str, &str)] = &[(
    "ioctl::callers_of_32_bits",
    "a 64-bit program has no 32-bit calls",
)];

/// The tests that do not run on a processor, as Rust calls it.
pub(crate) fn left_out(processor: &str) -> &'static [(&'static str, &'static str)] {
    match processor {
        "aarch64" => NOT_ON_ARM64,
        _ => &[],
    }
}
