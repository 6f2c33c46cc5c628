// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a device that is watched looks.

use super::{Heat, Line, Watch};
use crate::size::Exact;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::Paragraph;
use ratatui::Frame;
use std::time::Instant;

/// Columns of an offset and what is around it.
const OFFSET: u64 = 12;

/// How many bytes a line shows in so many columns.
pub(super) fn bytes_in_a_line(columns: u16) -> u64 {
    // A byte takes three columns and a character, and each group of eight one more of both.
    let needed = |bytes: u64| OFFSET + bytes * 4 + bytes / 8 * 2;
    [32, 16]
        .into_iter()
        .find(|bytes| needed(*bytes) <= u64::from(columns))
        .unwrap_or(8)
}

/// Where things are on a screen: the device, its windows, bytes, keys.
pub(super) fn areas(screen: Rect) -> [Rect; 4] {
    Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(screen)
}

/// Draws all of it.
pub(crate) fn draw(watch: &Watch, frame: &mut Frame<'_>, now: Instant) {
    let [head, tabs, body, foot] = areas(frame.area());
    frame.render_widget(Paragraph::new(heading(watch, now)), head);
    frame.render_widget(Paragraph::new(windows(watch, tabs)), tabs);
    let lines: Vec<_> = watch
        .visible()
        .into_iter()
        .map(|line| match line {
            Line::Heading(part) => part_heading(watch, part, body),
            Line::Bytes(range) => bytes(watch, range.start, now),
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), body);
    frame.render_widget(Paragraph::new(footer(watch)), foot);
}

/// The device's name and counts.
fn heading(watch: &Watch, now: Instant) -> Text<'_> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let size: u64 = watch.parts.iter().map(crate::address::Part::len).sum();
    let mappings = watch
        .mappings
        .map_or_else(|| "unknown".to_owned(), |it| it.to_string());
    Text::from(vec![
        Span::styled(watch.node.clone(), bold),
        Span::raw(format!("  {}  generation ", Exact(size))),
        Span::styled(
            watch.generation.to_string(),
            warmth(Heat::of(watch.generation_changed, now), bold),
        ),
        Span::raw("  mappings "),
        Span::styled(mappings, bold),
    ])
}

/// The windows, the one at the top marked; those around it, if there is not room for all.
fn windows(watch: &Watch, area: Rect) -> Text<'_> {
    let current = watch.part();
    let width = |part: &crate::address::Part| part.window.chars().count() + 2;
    // From so far left that the current one has room.
    let mut first = current;
    let mut used: usize = watch.parts.get(current).map_or(0, width);
    while first > 0 {
        used += width(&watch.parts[first - 1]);
        if used > usize::from(area.width) / 2 {
            break;
        }
        first -= 1;
    }
    let mut spans = Vec::new();
    for (index, part) in watch.parts.iter().enumerate().skip(first) {
        let style = if index == current {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        };
        spans.push(Span::styled(format!(" {} ", part.window), style));
    }
    Text::from(spans)
}

/// The line above a part's bytes.
fn part_heading<'a>(watch: &Watch, part: usize, area: Rect) -> Text<'a> {
    let part = &watch.parts[part];
    let access = if part.writable { "" } else { ", read-only" };
    let text = format!("── {}, {}{access} ", part.window, Exact(part.len()));
    let rest = usize::from(area.width).saturating_sub(text.chars().count());
    let style = Style::new().add_modifier(Modifier::DIM);
    Text::styled(format!("{text}{}", "─".repeat(rest)), style)
}

/// A line of bytes: the offset, the bytes, and what they are as characters.
fn bytes<'a>(watch: &Watch, start: u64, now: Instant) -> Text<'a> {
    let width = bytes_in_a_line(watch.room.1);
    let dim = Style::new().add_modifier(Modifier::DIM);
    let mut spans = vec![Span::styled(format!("{start:010x}"), dim)];
    let mut characters = vec![Span::raw("  ")];
    for (index, offset) in (start..).take(width as usize).enumerate() {
        if index % 8 == 0 {
            spans.push(Span::raw(" "));
            characters.push(Span::raw(if index == 0 { "" } else { " " }));
        }
        spans.push(Span::raw(" "));
        match watch.bytes.get(&offset) {
            Some(seen) => {
                let style = warmth(Heat::of(seen.changed, now), kind(seen.byte));
                spans.push(Span::styled(format!("{:02x}", seen.byte), style));
                characters.push(Span::styled(character(seen.byte).to_string(), style));
            }
            None => {
                spans.push(Span::raw("  "));
                characters.push(Span::raw(" "));
            }
        }
    }
    spans.extend(characters);
    Text::from(spans)
}

/// What can be typed, or why nothing happens any more.
fn footer(watch: &Watch) -> Text<'_> {
    if let Some(end) = &watch.end {
        let style = Style::new()
            .fg(Color::Red)
            .add_modifier(Modifier::REVERSED | Modifier::BOLD);
        return Text::from(vec![
            Span::styled(format!(" {end} "), style),
            Span::raw("  q quit"),
        ]);
    }
    let mut spans = Vec::new();
    if watch.paused {
        let style = Style::new().add_modifier(Modifier::REVERSED);
        spans.push(Span::styled(" paused ", style));
        spans.push(Span::raw("  "));
    }
    let key = Style::new().add_modifier(Modifier::BOLD);
    for (name, does) in [
        ("q", "quit"),
        ("↑↓ PgUp PgDn Home End", "scroll"),
        ("Tab", "window"),
        ("Space", if watch.paused { "go on" } else { "pause" }),
    ] {
        spans.push(Span::styled(name, key));
        spans.push(Span::raw(format!(" {does}  ")));
    }
    Text::from(spans)
}

/// The look of a byte that has been what it is for long.
fn kind(byte: u8) -> Style {
    match byte {
        0 => Style::new().fg(Color::DarkGray),
        b' '..=b'~' => Style::new().fg(Color::Cyan),
        0x80.. => Style::new().fg(Color::Magenta),
        _ => Style::new().fg(Color::Green),
    }
}

/// The look of what has changed: seen without colours as well.
fn warmth(heat: Heat, cold: Style) -> Style {
    match heat {
        Heat::Lit => Style::new()
            .fg(Color::Yellow)
            .add_modifier(Modifier::REVERSED | Modifier::BOLD),
        Heat::Warm => Style::new()
            .fg(Color::Yellow)
            .add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        Heat::Cold => cold,
    }
}

/// A byte as a character.
fn character(byte: u8) -> char {
    match byte {
        0 => '·',
        b' '..=b'~' => byte.into(),
        0x80.. => '×',
        _ => '•',
    }
}
