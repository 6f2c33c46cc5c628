// SPDX-License-Identifier: MIT OR Apache-2.0

//! Times, as they are typed.

use std::time::Duration;

/// Reads a time: `500ms`, `2s`, `1.5s`, `3m`; a bare number is seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let (number, unit) = units
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .unwrap_or((text, 1.0));
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    number
        .parse::<f64>()
        .ok()
        .filter(|_| plain)
        .and_then(|number| Duration::try_from_secs_f64(number * unit).ok())
        .ok_or_else(|| format!("`{text}` is not a valid time; use 500ms, 2s or 3m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, milliseconds) in [
            ("0", 0),
            ("2", 2000),
            ("2s", 2000),
            ("1.5", 1500),
            ("500ms", 500),
            ("3m", 180_000),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "", "s", "ms", "-1", "1h", "1e3", "inf", "NaN", "1.2.3", "1 s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"9".repeat(400)).is_err());
    }
}
