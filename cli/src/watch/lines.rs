// SPDX-License-Identifier: MIT OR Apache-2.0

//! The lines of a hex view, of which there may be more than anybody could hold.

use crate::address::Part;
use std::ops::Range;

/// All lines: for each part a heading, then its bytes.
pub(super) struct Lines<'a> {
    parts: &'a [Part],
    /// Bytes in a line.
    width: u64,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The heading of a part.
    Heading(usize),
    /// Offsets of the device.
    Bytes(Range<u64>),
}

impl<'a> Lines<'a> {
    pub(super) fn new(parts: &'a [Part], width: u64) -> Self {
        Self { parts, width }
    }

    /// How many lines a part has.
    fn length(&self, part: &Part) -> u64 {
        part.len().div_ceil(self.width).saturating_add(1)
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> u64 {
        self.parts.iter().map(|part| self.length(part)).sum()
    }

    /// Which part a line is of, and which line of it; the last one for what is behind all.
    fn find(&self, line: u64) -> (usize, u64) {
        let mut line = line;
        for (index, part) in self.parts.iter().enumerate() {
            let length = self.length(part);
            if line < length || index + 1 == self.parts.len() {
                return (index, line);
            }
            line -= length;
        }
        (0, 0)
    }

    /// A line, unless it is behind all.
    pub(super) fn get(&self, line: u64) -> Option<Line> {
        let (index, line) = self.find(line);
        let part = self.parts.get(index)?;
        if line == 0 {
            return Some(Line::Heading(index));
        }
        let start = (line - 1).checked_mul(self.width)?;
        let start = part.range.start.checked_add(start)?;
        let end = start.saturating_add(self.width).min(part.range.end);
        (start < end).then_some(Line::Bytes(start..end))
    }

    /// Which part a line is of.
    pub(super) fn part(&self, line: u64) -> usize {
        self.find(line).0
    }

    /// The heading of a part.
    pub(super) fn heading(&self, part: usize) -> u64 {
        self.parts
            .iter()
            .take(part)
            .map(|part| self.length(part))
            .sum()
    }

    /// The first byte that a line shows; of a heading, that of its part, marked as the heading.
    pub(super) fn offset(&self, line: u64) -> Option<(u64, bool)> {
        match self.get(line)? {
            Line::Heading(part) => Some((self.parts[part].range.start, true)),
            Line::Bytes(range) => Some((range.start, false)),
        }
    }

    /// The line that shows what [`offset`](Self::offset) told.
    pub(super) fn line_of(&self, offset: Option<(u64, bool)>) -> u64 {
        let Some((offset, is_heading)) = offset else {
            return 0;
        };
        let part = self
            .parts
            .iter()
            .position(|part| part.range.contains(&offset))
            .unwrap_or(0);
        let within = self
            .parts
            .get(part)
            .map_or(0, |part| (offset - part.range.start) / self.width + 1);
        self.heading(part) + if is_heading { 0 } else { within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(sizes: &[(u64, u64)]) -> Vec<Part> {
        let mut at = 0;
        let mut parts = Vec::new();
        for (gap, size) in sizes {
            at += gap;
            parts.push(Part {
                window: parts.len().to_string(),
                range: at..at + size,
                writable: true,
                tracked: false,
            });
            at += size;
        }
        parts
    }

    proptest! {
        #[test]
        fn each_byte_is_in_one_line_and_can_be_found_again(
            sizes in prop::collection::vec((0..50_u64, 1..200_u64), 1..6),
            width in prop::sample::select(vec![8_u64, 16, 32]),
            other in prop::sample::select(vec![8_u64, 16, 32]),
        ) {
            let parts = parts(&sizes);
            let lines = Lines::new(&parts, width);
            let mut seen = Vec::new();
            let mut headings = 0;
            for line in 0..lines.count() {
                match lines.get(line) {
                    Some(Line::Heading(part)) => {
                        prop_assert_eq!(part, headings);
                        prop_assert_eq!(lines.heading(part), line);
                        headings += 1;
                    }
                    Some(Line::Bytes(range)) => seen.extend(range),
                    None => prop_assert!(false, "no line {}", line),
                }
                prop_assert_eq!(lines.line_of(lines.offset(line)), line);
                // With other lines, the byte is still in the one that is told.
                let others = Lines::new(&parts, other);
                if let Some((offset, false)) = lines.offset(line) {
                    match others.get(others.line_of(lines.offset(line))) {
                        Some(Line::Bytes(range)) => prop_assert!(range.contains(&offset)),
                        line => prop_assert!(false, "{:?}", line),
                    }
                }
            }
            let all: Vec<_> = parts.iter().flat_map(|part| part.range.clone()).collect();
            prop_assert_eq!(seen, all);
            prop_assert_eq!(headings, parts.len());
            prop_assert_eq!(lines.get(lines.count()), None);
            prop_assert_eq!(lines.get(u64::MAX), None);
        }
    }
}
