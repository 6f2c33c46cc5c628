// SPDX-License-Identifier: MIT OR Apache-2.0

//! Places in devices, as they are typed: `DEVICE:WINDOW+OFFSET`.

use crate::node;
use crate::size::{self, Exact};
use anyhow::{anyhow, bail, Result};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

/// A place in a device. What is left out is its whole, or its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// What the device is called.
    device: String,
    /// The window's name, or its index where no window has that name.
    window: Option<String>,
    /// Bytes from the start of the window, or of the device.
    offset: Option<u64>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path may have colons in it: the last one counts. It may also have a plus, which is why
        // an offset into a device that is given by its path takes a colon too.
        let (device, window) = match text.rsplit_once(':') {
            Some((device, window)) => (device, window),
            None if text.contains('/') => (text, ""),
            None => match text.split_once('+') {
                Some((device, _)) => (device, &text[device.len()..]),
                None => (text, ""),
            },
        };
        let (window, offset) = match window.split_once('+') {
            Some((window, offset)) => (window, Some(size::parse(offset)?)),
            None => (window, None),
        };
        if device.is_empty() {
            return Err("it names no device, as in chrmem0 or chrmem0:buffer+0x10".to_owned());
        }
        if window.contains('/') {
            return Err(format!(
                "`{window}` is no window: put a colon after a path that has one in it"
            ));
        }
        Ok(Self {
            device: device.to_owned(),
            window: (!window.is_empty()).then(|| window.to_owned()),
            offset,
        })
    }
}

impl Address {
    /// The device's node.
    pub(crate) fn path(&self) -> PathBuf {
        node::path(&self.device)
    }

    /// Opens the device for reading and writing.
    pub(crate) fn open(&self) -> Result<chrmem::Device> {
        node::open(&self.device)
    }

    /// Opens the device for reading.
    pub(crate) fn open_read_only(&self) -> Result<chrmem::Device> {
        node::open_read_only(&self.device)
    }

    /// Whether it is the whole device.
    pub(crate) fn is_whole(&self) -> bool {
        self.window.is_none() && self.offset.is_none()
    }

    /// The bytes that it means, and where they are: `length` of them from the place on, or all up to
    /// the end of the window, or of the device if no window is named.
    pub(crate) fn locate(&self, device: &chrmem::Device, length: Option<u64>) -> Result<Place> {
        let windows = device.windows()?.into_iter().map(Part::from).collect();
        self.locate_in(windows, length)
    }

    /// The same in a device with these windows.
    fn locate_in(&self, windows: Vec<Part>, length: Option<u64>) -> Result<Place> {
        let bounds = match &self.window {
            Some(name) => find(&windows, name)?.range.clone(),
            None => 0..windows.last().map_or(0, |window| window.range.end),
        };
        let place = Place::new(&bounds, self.offset.unwrap_or(0), length, windows)?;
        // The whole device is all of its windows. Whoever names a range means each byte of it.
        if length.is_some() || !self.is_whole() {
            place.check_no_hole()?;
        }
        Ok(place)
    }
}

/// A range of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offsets of the device.
    pub(crate) range: Range<u64>,
    /// The parts of windows in it, in order.
    pub(crate) parts: Vec<Part>,
}

/// A window, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The window's name.
    pub(crate) window: String,
    /// Offsets of the device.
    pub(crate) range: Range<u64>,
    /// Whether it can be written.
    pub(crate) writable: bool,
    /// Whether stores into it are noticed.
    pub(crate) tracked: bool,
}

impl From<chrmem::Window> for Part {
    fn from(window: chrmem::Window) -> Self {
        Self {
            range: window.range(),
            writable: window.access.write,
            tracked: window.tracked,
            window: window.name,
        }
    }
}

impl Part {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Place {
    /// The bytes from `offset` on in `bounds`: `length` of them, or all.
    fn new(
        bounds: &Range<u64>,
        offset: u64,
        length: Option<u64>,
        windows: Vec<Part>,
    ) -> Result<Self> {
        let room = bounds.end - bounds.start;
        let Some(rest) = room.checked_sub(offset).filter(|rest| *rest > 0) else {
            bail!("offset {offset} is not before the end, which is at {room}");
        };
        let length = length.unwrap_or(rest);
        if length == 0 {
            bail!("a length of 0 is nothing to do");
        }
        if length > rest {
            bail!("{length} bytes from offset {offset} on run past the end, which is at {room}");
        }
        let start = bounds.start + offset;
        let range = start..start + length;
        let parts = windows
            .into_iter()
            .filter(|it| it.range.start < range.end && range.start < it.range.end)
            .map(|it| Part {
                range: it.range.start.max(range.start)..it.range.end.min(range.end),
                ..it
            })
            .collect();
        Ok(Self { range, parts })
    }

    /// How many bytes its parts have.
    pub(crate) fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }

    /// An error if a part of it cannot be written.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.parts.iter().find(|part| !part.writable) {
            Some(part) => bail!("the window {} is read-only", part.window),
            None => Ok(()),
        }
    }

    /// An error if there is a hole in it: offsets without memory.
    pub(crate) fn check_no_hole(&self) -> Result<()> {
        let mut at = self.range.start;
        for part in &self.parts {
            if part.range.start > at {
                break;
            }
            at = part.range.end;
        }
        if at < self.range.end {
            bail!("there is no memory at {at:#x}: no window has it");
        }
        Ok(())
    }
}

/// The window that is called `name`: by its name or, where none has it, by its index.
fn find<'a>(windows: &'a [Part], name: &str) -> Result<&'a Part> {
    let index = || windows.get(name.parse::<usize>().ok()?);
    windows
        .iter()
        .find(|it| it.window == name)
        .or_else(index)
        .ok_or_else(|| {
            let names: Vec<_> = windows
                .iter()
                .map(|it| format!("{}:{}", it.window, Exact(it.len())))
                .collect();
            anyhow!("there is no window `{name}`, only {}", names.join(" "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(device: &str, window: Option<&str>, offset: Option<u64>) -> Result<Address, String> {
        Ok(Address {
            device: device.to_owned(),
            window: window.map(str::to_owned),
            offset,
        })
    }

    /// Two windows that touch, a hole, and one more.
    fn windows() -> Vec<Part> {
        [
            ("a", 0..0x1000),
            ("b", 0x1000..0x3000),
            ("7", 0x8000..0x9000),
        ]
        .map(|(window, range)| Part {
            window: window.to_owned(),
            range,
            writable: window != "b",
            tracked: false,
        })
        .into()
    }

    #[test]
    fn a_device_a_window_an_offset() {
        for (text, expected) in [
            ("chrmem0", address("chrmem0", None, None)),
            ("chrmem0+4K", address("chrmem0", None, Some(4096))),
            ("chrmem0:+4K", address("chrmem0", None, Some(4096))),
            ("camera:frames", address("camera", Some("frames"), None)),
            (
                "camera:frames+0x10",
                address("camera", Some("frames"), Some(16)),
            ),
            (
                "/dev/chrmem0:0+7",
                address("/dev/chrmem0", Some("0"), Some(7)),
            ),
            ("/dev/char/243:0:", address("/dev/char/243:0", None, None)),
            (
                "/dev/char/243:0:a+1",
                address("/dev/char/243:0", Some("a"), Some(1)),
            ),
            ("/tmp/c++/x", address("/tmp/c++/x", None, None)),
            ("/tmp/c++/x:+1", address("/tmp/c++/x", None, Some(1))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", ":", ":a", "+1", "a+", "a+x", "a:b+", "/x:y/z", "a+1+1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_is_found_by_window_and_offset() {
        let place = |text: &str, length| {
            let address: Address = text.parse().expect(text);
            let found = address.locate_in(windows(), length);
            found.map(|it| it.range).map_err(|error| error.to_string())
        };
        assert_eq!(place("x", None), Ok(0..0x9000));
        assert_eq!(place("x", Some(0x3000)), Ok(0..0x3000));
        assert_eq!(place("x:b", None), Ok(0x1000..0x3000));
        assert_eq!(place("x:b+0x10", None), Ok(0x1010..0x3000));
        assert_eq!(place("x:b+0x10", Some(1)), Ok(0x1010..0x1011));
        // By name before by index.
        assert_eq!(place("x:7", None), Ok(0x8000..0x9000));
        assert_eq!(place("x:2", None), Ok(0x8000..0x9000));
        let error = |text, length| place(text, length).expect_err(text);
        assert_eq!(
            error("x:c", None),
            "there is no window `c`, only a:4K b:8K 7:4K"
        );
        assert_eq!(
            error("x:3", None),
            "there is no window `3`, only a:4K b:8K 7:4K"
        );
        assert_eq!(
            error("x:a+4096", None),
            "offset 4096 is not before the end, which is at 4096"
        );
        assert_eq!(
            error("x:a+1", Some(4096)),
            "4096 bytes from offset 1 on run past the end, which is at 4096"
        );
        assert_eq!(error("x", Some(0)), "a length of 0 is nothing to do");
        let hole = "there is no memory at 0x3000: no window has it";
        assert_eq!(error("x", Some(0x3001)), hole);
        assert_eq!(error("x+0", None), hole);
        let hole = "there is no memory at 0x4000: no window has it";
        assert_eq!(error("x+0x4000", None), hole);
    }

    #[test]
    fn a_place_with_a_read_only_window_is_not_writable() {
        for (text, length, expected) in [
            ("x:a", None, Ok(())),
            ("x", Some(4096), Ok(())),
            ("x:7+1", Some(1), Ok(())),
            ("x:b", None, Err("the window b is read-only".to_owned())),
            ("x", Some(4097), Err("the window b is read-only".to_owned())),
            ("x", None, Err("the window b is read-only".to_owned())),
        ] {
            let address: Address = text.parse().expect(text);
            let place = address.locate_in(windows(), length).expect(text);
            let found = place.check_writable().map_err(|error| error.to_string());
            assert_eq!(found, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_place_is_what_was_asked_for_or_an_error(
            window in prop::option::of(0..3_usize),
            offset in prop::option::of(0..0xa000_u64),
            length in prop::option::of(0..0xa000_u64),
        ) {
            let name = window.map(|index| windows()[index].window.clone());
            let address = Address { device: "x".to_owned(), window: name, offset };
            let bounds = window.map_or(0..0x9000, |index| windows()[index].range.clone());
            let has_memory = |at: u64| windows().iter().any(|it| it.range.contains(&at));
            let start = bounds.start + offset.unwrap_or(0);
            let end = length.map_or(bounds.end, |length| start + length);
            let whole = window.is_none() && offset.is_none() && length.is_none();
            let good = start < end && end <= bounds.end && (whole || (start..end).all(has_memory));
            match address.locate_in(windows(), length) {
                Ok(place) => {
                    prop_assert!(good);
                    prop_assert_eq!(&place.range, &(start..end));
                    let in_parts: Vec<_> = place.parts.iter().flat_map(|it| it.range.clone()).collect();
                    let expected: Vec<_> = (start..end).filter(|at| has_memory(*at)).collect();
                    prop_assert_eq!(place.len(), expected.len() as u64);
                    prop_assert_eq!(in_parts, expected);
                }
                Err(error) => prop_assert!(!good, "{}", error),
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "[a-z/:+0-9K]{0,20}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert!(!address.device.is_empty());
            }
        }
    }
}
