// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device that is watched: what of it is seen, and what of that has changed.

mod lines;
mod view;

pub(crate) use view::draw;

use crate::address::Part;
use lines::{Line, Lines};
use ratatui::layout::{Position, Rect, Size};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// For so long a byte that has changed is lit up.
const LIT: Duration = Duration::from_millis(400);

/// For so long it can be told from others.
const WARM: Duration = Duration::from_secs(3);

/// What is watched.
pub(crate) trait Memory {
    /// Copies bytes from `offset` on into `target`: how many.
    fn read(&self, offset: u64, target: &mut [u8]) -> chrmem::Result<usize>;

    /// What has changed in tracked windows after `since`.
    fn changes(&self, since: u64) -> chrmem::Result<chrmem::Changes>;

    /// The generation, and how many mappings there are if that is known.
    fn counts(&self) -> chrmem::Result<(u64, Option<u64>)>;
}

impl Memory for chrmem::Device {
    fn read(&self, offset: u64, target: &mut [u8]) -> chrmem::Result<usize> {
        self.read_at(offset, target)
    }

    fn changes(&self, since: u64) -> chrmem::Result<chrmem::Changes> {
        chrmem::Device::changes(self, since)
    }

    fn counts(&self) -> chrmem::Result<(u64, Option<u64>)> {
        Ok((self.info()?.generation, crate::fdinfo::mappings(self)))
    }
}

/// A byte that is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    byte: u8,
    /// When it changed last, while it was seen.
    changed: Option<Instant>,
}

/// How long ago something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heat {
    Lit,
    Warm,
    Cold,
}

impl Heat {
    fn of(changed: Option<Instant>, now: Instant) -> Self {
        match changed.map(|it| now.saturating_duration_since(it)) {
            Some(age) if age < LIT => Self::Lit,
            Some(age) if age < WARM => Self::Warm,
            _ => Self::Cold,
        }
    }
}

/// What the screen shows.
pub(crate) struct Watch {
    /// The device's name.
    node: String,
    /// What is watched of its windows.
    parts: Vec<Part>,
    /// What is seen, by offset.
    bytes: BTreeMap<u64, Seen>,
    /// What the last look for changes in tracked windows was complete up to.
    since: u64,
    generation: u64,
    generation_changed: Option<Instant>,
    mappings: Option<u64>,
    /// The line at the top of the screen.
    top: u64,
    /// Lines and columns that there is room for.
    room: (u16, u16),
    /// Whether it stands still.
    paused: bool,
    /// Why nothing can be seen any more.
    end: Option<String>,
}

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Up,
    Down,
    PageUp,
    PageDown,
    Start,
    End,
    NextWindow,
    PreviousWindow,
    Pause,
}

impl Watch {
    /// Watches parts of a device.
    pub(crate) fn new(node: String, parts: Vec<Part>) -> Self {
        Self {
            node,
            parts,
            bytes: BTreeMap::new(),
            since: 0,
            generation: 0,
            generation_changed: None,
            mappings: None,
            top: 0,
            room: (0, 0),
            paused: false,
            end: None,
        }
    }

    /// The screen is so large.
    pub(crate) fn resize(&mut self, screen: Size) {
        let [_, _, body, _] = view::areas(Rect::from((Position::ORIGIN, screen)));
        if self.room == (body.height, body.width) {
            return;
        }
        // The same bytes stay at the top, however many are in a line.
        let offset = self.lines().offset(self.top);
        self.room = (body.height, body.width);
        self.go_to(self.lines().line_of(offset));
    }

    /// Looks at the device.
    pub(crate) fn look(&mut self, memory: &impl Memory, now: Instant) {
        if self.paused || self.end.is_some() {
            return;
        }
        if let Err(error) = self.try_look(memory, now) {
            let gone = error.errno() == Some(chrmem::Errno::NODEV);
            self.end = Some(match gone {
                true if memory.counts().is_ok() => "the hardware of the window is gone".to_owned(),
                true => "the device was destroyed".to_owned(),
                false => error.to_string(),
            });
        }
    }

    fn try_look(&mut self, memory: &impl Memory, now: Instant) -> chrmem::Result<()> {
        let (generation, mappings) = memory.counts()?;
        // Nothing has changed as far as the first look can tell.
        if generation != self.generation && !self.bytes.is_empty() {
            self.generation_changed = Some(now);
        }
        (self.generation, self.mappings) = (generation, mappings);
        // After the generation, so that a store that comes next counts at the next look.
        let changes = match self.parts.iter().any(|part| part.tracked) {
            true => memory.changes(self.since)?,
            false => chrmem::Changes::default(),
        };
        self.since = changes.generation;
        let mut bytes = BTreeMap::new();
        for line in self.visible() {
            let Line::Bytes(range) = line else { continue };
            if self.is_as_seen(&range, &changes) {
                bytes.extend(self.bytes.range(range).map(|(at, seen)| (*at, *seen)));
                continue;
            }
            let mut target = vec![0; (range.end - range.start) as usize];
            let mut length = 0;
            while length < target.len() {
                match memory.read(range.start + length as u64, &mut target[length..])? {
                    0 => break,
                    more => length += more,
                }
            }
            for (offset, byte) in range.zip(&target[..length]) {
                let before = self.bytes.get(&offset);
                let changed = match before {
                    Some(before) if before.byte != *byte => Some(now),
                    Some(before) => before.changed,
                    None => None,
                };
                let byte = *byte;
                bytes.insert(offset, Seen { byte, changed });
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Whether bytes of a line are those that were seen: in a tracked window, and not among what has changed since.
    fn is_as_seen(&self, range: &Range<u64>, changes: &chrmem::Changes) -> bool {
        let part = self.parts.iter().find(|it| it.range.contains(&range.start));
        part.is_some_and(|part| part.tracked)
            && range.clone().all(|at| self.bytes.contains_key(&at))
            && !changes
                .ranges
                .iter()
                .any(|it| it.start < range.end && range.start < it.end)
    }

    /// Does what the user wants.
    pub(crate) fn wish(&mut self, wish: Wish) {
        let page = u64::from(self.room.0.saturating_sub(1)).max(1);
        match wish {
            Wish::Up => self.go_to(self.top.saturating_sub(1)),
            Wish::Down => self.go_to(self.top.saturating_add(1)),
            Wish::PageUp => self.go_to(self.top.saturating_sub(page)),
            Wish::PageDown => self.go_to(self.top.saturating_add(page)),
            Wish::Start => self.go_to(0),
            Wish::End => self.go_to(u64::MAX),
            Wish::NextWindow => self.go_to_part(1),
            Wish::PreviousWindow => self.go_to_part(-1),
            Wish::Pause => self.paused = !self.paused,
        }
    }

    /// Goes to the part that is so many further, the first after the last.
    fn go_to_part(&mut self, further: isize) {
        let count = self.parts.len() as isize;
        if count > 0 {
            let part = (self.part() as isize + further).rem_euclid(count);
            self.top = self.lines().heading(part as usize);
        }
    }

    /// Goes to a line, or so far that the last one is at the bottom.
    fn go_to(&mut self, line: u64) {
        let last = self.lines().count().saturating_sub(u64::from(self.room.0));
        self.top = line.min(last);
    }

    /// Which part is at the top.
    fn part(&self) -> usize {
        self.lines().part(self.top)
    }

    /// All lines.
    fn lines(&self) -> Lines<'_> {
        Lines::new(&self.parts, view::bytes_in_a_line(self.room.1))
    }

    /// The lines that are seen.
    fn visible(&self) -> Vec<Line> {
        let lines = self.lines();
        (self.top..)
            .take(usize::from(self.room.0))
            .map_while(|line| lines.get(line))
            .collect()
    }
}

#[cfg(test)]
mod tests;
