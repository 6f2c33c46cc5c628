// SPDX-License-Identifier: MIT OR Apache-2.0

//! The driver's reading of numbers.

#[path = "../../../driver/number.rs"]
mod number;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_is_written(value: u64) {
        prop_assert_eq!(number::parse(&format!("{value}")), Some(value));
        prop_assert_eq!(number::parse(&format!("{value:#x}")), Some(value));
        prop_assert_eq!(number::parse(&format!("0X{value:X}")), Some(value));
    }

    #[test]
    fn a_suffix_is_a_power_of_1024(value: u64, suffix in 0usize..4, lower: bool) {
        let letter = ['K', 'M', 'G', 'T'][suffix];
        let letter = if lower { letter.to_ascii_lowercase() } else { letter };
        let expected = u128::from(value) << (10 * (suffix + 1));
        prop_assert_eq!(number::parse(&format!("{value}{letter}")), u64::try_from(expected).ok());
    }

    #[test]
    fn takes_nothing_else(text in "\\PC*") {
        let digits = text.strip_suffix(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't']).unwrap_or(&text);
        let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("0X")).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if !decimal && !hexadecimal {
            prop_assert_eq!(number::parse(&text), None);
        }
    }
}

#[test]
fn edges() {
    for (text, expected) in [
        ("", None),
        ("0", Some(0)),
        ("+1", None),
        ("-1", None),
        (" 1", None),
        ("1 ", None),
        ("1_000", None),
        ("0x", None),
        ("0x+1", None),
        ("0x1K", None),
        ("K", None),
        ("4K", Some(4096)),
        ("16m", Some(16 << 20)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("0xffffffffffffffff", Some(u64::MAX)),
        ("0x10000000000000000", None),
        ("16777215T", Some(16_777_215 << 40)),
        ("16777216T", None),
    ] {
        assert_eq!(number::parse(text), expected, "{text:?}");
    }
}
