// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a window is to be, as it is typed.

use crate::size;
use std::str::FromStr;

/// A window that is to be made: its name and its settings, as configfs takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowPlan {
    /// Its name.
    pub(crate) name: String,
    /// Setting and value, each setting once.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// Reads the name of a device or a window: what the driver takes, and what leads nowhere else as the
/// name of a folder.
pub(crate) fn name(text: &str) -> Result<String, String> {
    const LONGEST: usize = 56;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty()
        || text.len() > LONGEST
        || !text.bytes().all(good)
        || [".", ".."].contains(&text)
    {
        return Err(format!(
            "`{text}` is not a valid name; use up to {LONGEST} letters, digits, dots, dashes and underscores"
        ));
    }
    Ok(text.to_owned())
}

/// How the value of a setting is written.
#[derive(Clone, Copy)]
enum Kind {
    /// A number of bytes.
    Size,
    /// The same, or this word.
    SizeOr(&'static str),
    /// A number from 0 to 255.
    Byte,
    /// One of these words.
    Word(&'static [&'static str]),
    /// What the driver makes of it.
    Text,
}

/// The settings that there are.
const SETTINGS: &[(&str, Kind)] = &[
    ("size", Kind::Size),
    ("offset", Kind::SizeOr("auto")),
    (
        "memory",
        Kind::Word(&["pages", "contiguous", "dma", "physical"]),
    ),
    (
        "cache",
        Kind::Word(&["cached", "writecombine", "noncached"]),
    ),
    ("access", Kind::Word(&["rw", "ro"])),
    ("address", Kind::SizeOr("none")),
    ("device", Kind::Text),
    ("node", Kind::Text),
    ("fill", Kind::Byte),
    ("track", Kind::Word(&["0", "1"])),
];

impl FromStr for WindowPlan {
    type Err = String;

    /// Reads `NAME:SIZE,key=value,…`; `NAME` and `SIZE` can also be given as `name=` and `size=`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let mut plan = Self {
            name: String::new(),
            settings: Vec::new(),
        };
        if first.contains('=') {
            plan.add(first)?;
        } else if let Some((name, size)) = first.split_once(':') {
            name.clone_into(&mut plan.name);
            plan.add(&format!("size={size}"))?;
        } else {
            first.clone_into(&mut plan.name);
        }
        for part in parts {
            plan.add(part)?;
        }
        plan.finish()
    }
}

impl WindowPlan {
    /// Adds what a `key=value` says.
    fn add(&mut self, part: &str) -> Result<(), String> {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is not key=value"))?;
        if key == "name" {
            if !self.name.is_empty() {
                return Err("two names".to_owned());
            }
            value.clone_into(&mut self.name);
            return Ok(());
        }
        let (key, kind) = *SETTINGS
            .iter()
            .find(|(name, _)| *name == key)
            .ok_or_else(|| {
                let names: Vec<_> = SETTINGS.iter().map(|(name, _)| *name).collect();
                format!(
                    "there is no setting `{key}`, only name, {}",
                    names.join(", ")
                )
            })?;
        if self.has(key) {
            return Err(format!("`{key}` is given twice"));
        }
        self.settings.push((key, kind.read(key, value)?));
        Ok(())
    }

    /// What was typed, if nothing is left out, and with what follows from it.
    fn finish(mut self) -> Result<Self, String> {
        if self.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        name(&self.name)?;
        if !self.has("size") {
            return Err(format!("it has no size, as in {}:16M", self.name));
        }
        for (setting, memory) in [("address", "physical"), ("device", "dma")] {
            if self.has(setting) && !self.has("memory") {
                self.settings.push(("memory", memory.to_owned()));
            }
        }
        Ok(self)
    }

    /// Whether a setting was given.
    fn has(&self, setting: &str) -> bool {
        self.settings.iter().any(|(name, _)| *name == setting)
    }
}

impl Kind {
    /// Reads the value of a setting: as configfs takes it.
    fn read(self, key: &str, value: &str) -> Result<String, String> {
        match self {
            Self::Size => size::parse(value).map(|number| number.to_string()),
            Self::SizeOr(word) if value == word => Ok(value.to_owned()),
            Self::SizeOr(_) => size::parse(value).map(|number| number.to_string()),
            Self::Byte => size::parse(value)
                .ok()
                .filter(|number| *number <= 255)
                .map(|number| number.to_string())
                .ok_or_else(|| format!("{key} is a byte, 0 to 255, not `{value}`")),
            Self::Word(words) if words.contains(&value) => Ok(value.to_owned()),
            Self::Word(words) => Err(format!("{key} is {}, not `{value}`", words.join(" or "))),
            Self::Text if value.is_empty() => Err(format!("{key} is empty")),
            Self::Text => Ok(value.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(name: &str, settings: &[(&'static str, &str)]) -> Result<WindowPlan, String> {
        Ok(WindowPlan {
            name: name.to_owned(),
            settings: settings
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned()))
                .collect(),
        })
    }

    #[test]
    fn a_window_is_a_name_a_size_and_settings() {
        for (text, name, settings) in [
            ("a:4K", "a", &[("size", "4096")][..]),
            ("a,size=0x1000", "a", &[("size", "4096")]),
            ("name=a,size=4K", "a", &[("size", "4096")]),
            ("size=4K,name=a", "a", &[("size", "4096")]),
            (
                "frames:16M,offset=0x1000000,memory=contiguous,cache=noncached,access=ro,fill=0x2a,track=1",
                "frames",
                &[
                    ("size", "16777216"),
                    ("offset", "16777216"),
                    ("memory", "contiguous"),
                    ("cache", "noncached"),
                    ("access", "ro"),
                    ("fill", "42"),
                    ("track", "1"),
                ],
            ),
            (
                "bar:4M,offset=auto,address=0xfe000000",
                "bar",
                &[
                    ("size", "4194304"),
                    ("offset", "auto"),
                    ("address", "4261412864"),
                    ("memory", "physical"),
                ],
            ),
            (
                "ring:64K,device=0000:00:04.0",
                "ring",
                &[
                    ("size", "65536"),
                    ("device", "0000:00:04.0"),
                    ("memory", "dma"),
                ],
            ),
            (
                "x:4K,memory=pages,address=none",
                "x",
                &[("size", "4096"), ("memory", "pages"), ("address", "none")],
            ),
        ] {
            assert_eq!(text.parse(), plan(name, settings), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "no name"),
            (":4K", "no name"),
            ("a", "it has no size, as in a:16M"),
            ("a:", "`` is not a valid size"),
            ("a:big", "`big` is not a valid size"),
            ("a:4K,size=8K", "`size` is given twice"),
            ("a:4K,name=b", "two names"),
            ("a:4K,colour=red", "no setting `colour`"),
            ("a:4K,ro", "`ro` is not key=value"),
            ("a:4K,", "`` is not key=value"),
            ("a:4K,access=rx", "access is rw or ro, not `rx`"),
            ("a:4K,fill=256", "fill is a byte"),
            ("a:4K,track=yes", "track is 0 or 1"),
            ("a:4K,device=", "device is empty"),
            ("../a:4K", "`../a` is not a valid name"),
            ("..:4K", "`..` is not a valid name"),
            ("a b:4K", "`a b` is not a valid name"),
        ] {
            let error = text.parse::<WindowPlan>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_is_what_the_driver_takes() {
        let longest = "x".repeat(56);
        for good in ["a", "camera-2.raw_8", "...", &longest] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        let longer = "x".repeat(57);
        for bad in ["", ".", "..", "a/b", "a b", "a\n", "ä", &longer] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a-z:=,./0-9K]{0,30}") {
            if let Ok(plan) = text.parse::<WindowPlan>() {
                prop_assert!(!plan.name.contains('/') && !plan.name.is_empty());
                prop_assert!(plan.has("size"));
            }
        }
    }
}
