// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bytes, as they are typed.

/// Reads one byte: a number from 0 to 255, or 0x00 to 0xff, or one character that is no digit.
pub(crate) fn parse(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_digit() => return Ok(*byte),
        _ => {}
    }
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => hexadecimal(digits),
        None if text.bytes().all(|it| it.is_ascii_digit()) => text.parse().ok(),
        None => None,
    };
    number.ok_or_else(|| {
        format!("`{text}` is not a byte; use 0 to 255, 0x00 to 0xff, or a character")
    })
}

/// Reads bytes in hexadecimal: `dead beef` or `de:ad:be:ef`.
pub(crate) fn parse_all(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text
        .chars()
        .filter(|it| !it.is_whitespace() && *it != ':')
        .collect();
    let error = || format!("`{text}` is not two hexadecimal digits a byte");
    if digits.is_empty() || !digits.is_ascii() || digits.len() % 2 != 0 {
        return Err(error());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| hexadecimal(&digits[at..at + 2]).ok_or_else(error))
        .collect()
}

/// Reads one or two hexadecimal digits.
fn hexadecimal(digits: &str) -> Option<u8> {
    // `from_str_radix` would also take a sign.
    let good = digits.bytes().all(|it| it.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_byte_is_a_number_or_a_character() {
        for (text, byte) in [
            ("0", 0),
            ("7", 7),
            ("255", 255),
            ("0x2a", 42),
            ("0XFF", 255),
            ("*", b'*'),
            (" ", b' '),
            ("x", b'x'),
            ("+", b'+'),
        ] {
            assert_eq!(parse(text), Ok(byte), "{text}");
        }
        for text in [
            "", "256", "-1", "+1", "0x", "0x100", "0x+1", "ab", "ä", "1K",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_bytes_are_pairs_of_digits() {
        let bytes = Ok(vec![0xde, 0xad, 0xbe, 0xef]);
        for text in ["deadbeef", "DE AD BE EF", "de:ad:be:ef", " dead\nbeef "] {
            assert_eq!(parse_all(text), bytes, "{text}");
        }
        for text in ["", " ", "d", "dead b", "0x12", "zz", "+1", "ää"] {
            assert!(parse_all(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,8}") {
            let _ = parse(&text);
            let _ = parse_all(&text);
        }
    }
}
