// SPDX-License-Identifier: MIT OR Apache-2.0

//! The picture in the terminal.

use super::canvas::{arrange, cells, Column};
use super::{Mapped, Mapping};
use crate::describe::Window;
use crate::size::Exact;
use anstyle::{AnsiColor, Style};
use std::fmt::Write;

/// Columns of a process's name and number.
const LABEL: usize = 20;

/// Columns of addresses and permissions, with the blanks before them.
const ADDRESSES: usize = 32;

/// The narrowest that a window may be, in columns.
const NARROWEST: usize = 6;

/// The colours of processes, in turn.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Green,
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Draws devices, `width` columns wide.
pub(crate) fn draw(devices: &[Mapped], width: usize) -> String {
    if devices.is_empty() {
        return "There are no devices.\n".to_owned();
    }
    let mut text = String::new();
    for (index, device) in devices.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        draw_device(
            device,
            width.max(LABEL + ADDRESSES + 3 * NARROWEST),
            &mut text,
        );
    }
    text
}

/// Draws one device: its windows side by side, and below them a line for each mapping.
fn draw_device(device: &Mapped, width: usize, text: &mut String) {
    let count = device.mappings.len();
    let s = if count == 1 { "" } else { "s" };
    let fate = if device.destroyed { ", destroyed" } else { "" };
    let _ = writeln!(
        text,
        "{BOLD}{}{BOLD:#}{fate}: {count} mapping{s}",
        device.node
    );
    let columns = arrange(device, width - LABEL - ADDRESSES, NARROWEST);
    if !columns.is_empty() {
        draw_windows(device, &columns, text);
    }
    let mut processes = Vec::new();
    for (index, mapping) in device.mappings.iter().enumerate() {
        if !processes.contains(&mapping.pid) {
            processes.push(mapping.pid);
        }
        let colour = COLOURS[(processes.len() - 1) % COLOURS.len()];
        let again = index > 0 && device.mappings[index - 1].pid == mapping.pid;
        draw_mapping(
            device,
            mapping,
            &columns,
            (colour.on_default(), again),
            text,
        );
    }
}

/// Draws the names, sizes and borders of windows.
fn draw_windows(device: &Mapped, columns: &[Column], text: &mut String) {
    let mut row = |of: &dyn Fn(&Window, usize) -> String| {
        let mut line = " ".repeat(LABEL);
        for column in columns {
            let cell = of(&device.windows()[column.window], column.width);
            let _ = write!(line, "{cell} ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    };
    row(&|window, width| fit(&window.name, width));
    row(&|window, width| fit(&Exact(window.size).to_string(), width));
    row(&|window, width| fit(&format!("{:#x}", window.offset), width));
    row(&|_, width| format!("├{}┤", "─".repeat(width - 2)));
    let hidden = device.windows().len() - columns.len();
    if hidden > 0 {
        let _ = writeln!(
            text,
            "{:LABEL$}{DIM}and {hidden} more windows, for which there is no room{DIM:#}",
            ""
        );
    }
}

/// Draws one mapping: who, what, where.
fn draw_mapping(
    device: &Mapped,
    mapping: &Mapping,
    columns: &[Column],
    (style, again): (Style, bool),
    text: &mut String,
) {
    let pid = mapping.pid.to_string();
    let name = fit(&mapping.process, LABEL - 2 - pid.len().max(6));
    let label = if again {
        " ".repeat(LABEL)
    } else {
        format!("{name} {pid:>6} ")
    };
    let _ = write!(text, "{label:LABEL$}");
    for column in columns {
        let whole = device.windows()[column.window].range();
        let lit = cells(&whole, &mapping.range(), column.width);
        let block = if mapping.is_writable() { "█" } else { "▒" };
        let before = "·".repeat(lit.start);
        let after = "·".repeat(column.width - lit.end);
        let bar = block.repeat(lit.len());
        let _ = write!(
            text,
            "{DIM}{before}{DIM:#}{style}{bar}{style:#}{DIM}{after}{DIM:#} "
        );
    }
    if columns.is_empty() {
        let what = format!("{} at {:#x}", Exact(mapping.size), mapping.offset);
        let _ = write!(text, "{what:20} ");
    }
    let end = mapping.address.saturating_add(mapping.size);
    let _ = writeln!(
        text,
        "{:x}-{end:x} {}",
        mapping.address, mapping.permissions
    );
}

/// A word in exactly so many columns. A process may call itself anything, but not steer the terminal.
fn fit(word: &str, width: usize) -> String {
    let word = word.replace(char::is_control, "?");
    if word.chars().count() <= width {
        return format!("{word:width$}");
    }
    let start: String = word.chars().take(width.saturating_sub(1)).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::fixture::{devices, mapping, window};

    #[test]
    fn the_picture_has_windows_processes_and_addresses() {
        let picture = anstream::adapter::strip_str(&draw(&devices(), 100)).to_string();
        insta::assert_snapshot!(picture);
    }

    #[test]
    fn no_devices_are_said() {
        assert_eq!(draw(&[], 80), "There are no devices.\n");
    }

    #[test]
    fn the_picture_fits_the_terminal() {
        for width in [80, 100, 133, 200] {
            let picture = anstream::adapter::strip_str(&draw(&devices(), width)).to_string();
            for line in picture.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_process_cannot_steer_the_terminal() {
        assert!(!draw(&devices(), 100).contains("\x1b[2J"));
    }

    #[test]
    fn a_thousand_windows_leave_room_for_those_that_are_mapped() {
        let windows = (0..1000)
            .map(|index| window(&format!("w{index}"), index * 4096, 4096))
            .collect();
        let mappings = vec![mapping(5, "x", 777 * 4096, 4096, "rw-s")];
        let device = Mapped::with(
            "/dev/chrmem-many".to_owned(),
            false,
            Some(windows),
            mappings,
        );
        let picture = anstream::adapter::strip_str(&draw(&[device], 100)).to_string();
        assert!(picture.contains("w777"), "{picture}");
        assert!(picture.contains("██████"), "{picture}");
        assert!(picture.contains("and 993 more windows"), "{picture}");
    }
}
