// SPDX-License-Identifier: GPL-2.0

//! Numbers as people write them.
//!
//! Pure, on `core` alone, so that it is also compiled and tested on the host.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

/// Reads a decimal number, or a hexadecimal one after `0x`, with an optional suffix `K`, `M`, `G`
/// or `T` that stands for a power of 1024; `None` if it is anything else or beyond 64 bits.
pub(crate) fn parse(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return digits_of(digits, 16);
    }
    let suffixes = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    for (suffix, power) in suffixes {
        let digits = text.strip_suffix([suffix, suffix.to_ascii_lowercase()]);
        if let Some(digits) = digits {
            return digits_of(digits, 10)?.checked_mul(1 << power);
        }
    }
    digits_of(text, 10)
}

/// Reads digits and nothing else: no sign.
pub(crate) fn digits_of(text: &str, radix: u32) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.chars().try_fold(0_u64, |value, digit| {
        // With a radix that is not constant, `to_digit` is a possible panic.
        let digit = digit.to_digit(36).filter(|digit| *digit < radix)?;
        value.checked_mul(radix.into())?.checked_add(digit.into())
    })
}
