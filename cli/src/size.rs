// SPDX-License-Identifier: MIT OR Apache-2.0

//! Numbers of bytes, as they are typed and shown.

use parse_size::Config;
use std::fmt;

/// Reads a number of bytes: `4096`, `0x1000`, `4K` or `16MiB`. A thousand is 1024, as everywhere
/// where pages are counted.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = match hexadecimal {
        // `from_str_radix` would also take a sign.
        Some(digits) if digits.bytes().all(|it| it.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => Config::new().with_binary().parse_size(text).ok(),
    };
    number.ok_or_else(|| format!("`{text}` is not a valid size; use 4096, 0x1000 or 4K"))
}

/// Shows a number of bytes exactly, in the largest unit of which it is a whole number: what
/// [`parse`] reads.
#[derive(Clone, Copy)]
pub(crate) struct Exact(pub(crate) u64);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = |(_, shift): &(char, u32)| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match [('T', 40), ('G', 30), ('M', 20), ('K', 10)]
            .into_iter()
            .find(unit)
        {
            Some((letter, shift)) => f.pad(&format!("{}{letter}", self.0 >> shift)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_ways_to_write_a_size() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4K", 4096),
            ("4k", 4096),
            ("4KiB", 4096),
            ("4 KB", 4096),
            ("1.5M", 1_572_864),
            ("16MiB", 16 << 20),
            ("2G", 2 << 30),
            ("0x1000", 4096),
            ("0XfF", 255),
            ("0xffffffffffffffff", u64::MAX),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size() {
        for text in [
            "",
            "K",
            "-1",
            "4X",
            "0x",
            "0xg",
            "0x+1",
            "0x10000000000000000",
            "18446744073709551616",
            "four",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_typed(number: u64, shift in 0..64_u32) {
            let number = number >> shift << (shift / 2);
            prop_assert_eq!(parse(&Exact(number).to_string()), Ok(number));
            prop_assert_eq!(parse(&format!("{number:#x}")), Ok(number));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
