// SPDX-License-Identifier: MIT OR Apache-2.0

//! The picture as a file for browsers and documents.

use super::canvas::{arrange, cells};
use super::Mapped;
use crate::size::Exact;
use std::fmt::Write;

/// Pixels of a process's name and number.
const LABEL: usize = 184;

/// Pixels of a column: as far as windows are apart.
const COLUMN: usize = 3;

/// Columns of all windows.
const COLUMNS: usize = 216;

/// Pixels of all windows.
const WINDOWS: usize = COLUMN * COLUMNS;

/// Pixels of addresses.
const ADDRESSES: usize = 290;

/// The narrowest that a window may be, in columns.
const NARROWEST: usize = 19;

/// Pixels of a line.
const LINE: usize = 20;

/// The colours of processes, in turn: told apart also by those who do not see all of them.
const COLOURS: [&str; 6] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9",
];

/// Draws devices.
pub(crate) fn draw(devices: &[Mapped]) -> String {
    let mut body = String::new();
    let mut y = LINE;
    for device in devices {
        y = draw_device(device, y, &mut body) + LINE;
    }
    let width = LABEL + WINDOWS + ADDRESSES;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{y}\" \
         viewBox=\"0 0 {width} {y}\" font-family=\"monospace\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// Draws a device from `y` on: where it ends.
fn draw_device(device: &Mapped, mut y: usize, body: &mut String) -> usize {
    let fate = if device.destroyed { ", destroyed" } else { "" };
    text(
        8,
        y,
        &format!("{}{fate}", device.node),
        " font-weight=\"bold\"",
        body,
    );
    y += LINE;
    let columns = arrange(device, COLUMNS, NARROWEST);
    let top = y;
    for column in &columns {
        let window = &device.windows()[column.window];
        let x = LABEL + COLUMN * column.start;
        // A character is about seven pixels wide.
        let room = COLUMN * column.width / 7;
        let name: String = window.name.chars().take(room).collect();
        text(x, y, &name, "", body);
        let (size, offset) = (Exact(window.size), window.offset);
        let about = [format!("{size} at {offset:#x}"), format!("{size}")];
        let fits = about.iter().find(|it| it.len() <= room);
        text(x, y + 14, fits.unwrap_or(&about[1]), " fill=\"#666\"", body);
    }
    y += if columns.is_empty() { 0 } else { 14 + 8 };
    let lines = device.mappings.len().max(1) * LINE;
    for column in &columns {
        let _ = writeln!(
            body,
            "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{lines}\" rx=\"2\" fill=\"#f6f6f6\" stroke=\"#bbb\"/>",
            LABEL + COLUMN * column.start,
            COLUMN * column.width,
        );
    }
    let mut processes = Vec::new();
    for mapping in &device.mappings {
        let new = !processes.contains(&mapping.pid);
        if new {
            processes.push(mapping.pid);
            // As many characters as the kernel keeps of a name.
            let name: String = mapping.process.chars().take(15).collect();
            let label = format!("{name} {}", mapping.pid);
            text(8, y + 14, &label, "", body);
        }
        let colour = COLOURS[(processes.len() - 1) % COLOURS.len()];
        let opacity = if mapping.is_writable() { "1" } else { "0.5" };
        let end = mapping.address.saturating_add(mapping.size);
        let place = format!("{:x}-{end:x} {}", mapping.address, mapping.permissions);
        for column in &columns {
            let whole = device.windows()[column.window].range();
            let lit = cells(&whole, &mapping.range(), column.width);
            if !lit.is_empty() {
                let _ = writeln!(
                    body,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\" \
                     fill-opacity=\"{opacity}\"><title>{} {}: {place}</title></rect>",
                    LABEL + COLUMN * (column.start + lit.start),
                    y + 3,
                    COLUMN * lit.len(),
                    LINE - 6,
                    escaped(&mapping.process),
                    mapping.pid,
                );
            }
        }
        text(LABEL + WINDOWS + 12, y + 14, &place, " fill=\"#666\"", body);
        y += LINE;
    }
    if device.mappings.is_empty() {
        let note = " fill=\"#999\" font-style=\"italic\"";
        text(LABEL + WINDOWS + 12, y + 14, "not mapped", note, body);
        y += LINE;
    }
    let hidden = device.windows().len() - columns.len();
    if hidden > 0 {
        let more = format!("and {hidden} more windows");
        text(LABEL + WINDOWS + 12, top, &more, " fill=\"#666\"", body);
    }
    y + LINE
}

/// Writes text, the baseline at `y`.
fn text(x: usize, y: usize, text: &str, style: &str, body: &mut String) {
    let _ = writeln!(
        body,
        "<text x=\"{x}\" y=\"{y}\"{style}>{}</text>",
        escaped(text)
    );
}

/// Text as XML has it. A process may call itself anything: what XML cannot have is left out.
fn escaped(text: &str) -> String {
    text.chars()
        .filter(|it| !it.is_control() && !['\u{fffe}', '\u{ffff}'].contains(it))
        .fold(String::new(), |mut text, it| {
            match it {
                '<' => text.push_str("&lt;"),
                '>' => text.push_str("&gt;"),
                '&' => text.push_str("&amp;"),
                other => text.push(other),
            }
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::fixture::{devices, window};
    use crate::maps::Mapping;
    use roxmltree::Document;

    #[test]
    fn the_picture_has_windows_processes_and_addresses() {
        insta::assert_snapshot!(draw(&devices()));
    }

    #[test]
    fn the_picture_is_well_formed_whatever_a_process_calls_itself() {
        let mapping = |pid, process: &str, offset, permissions: &str| Mapping {
            pid,
            process: process.to_owned(),
            address: 0x7f00_0000_0000,
            size: 4096,
            offset,
            permissions: permissions.to_owned(),
            window: None,
        };
        let device = Mapped::with(
            "/dev/chrmem-camera".to_owned(),
            false,
            Some(vec![
                window("header", 0, 4096),
                window("frames", 4096, 8192),
            ]),
            vec![
                mapping(1, "<&\"'>\x07\u{ffff}", 0, "rw-s"),
                mapping(2, "reader", 8192, "r--s"),
            ],
        );
        let picture = draw(&[device]);
        let document = Document::parse(&picture).expect("XML");
        let titles: Vec<_> = document
            .descendants()
            .filter(|it| it.has_tag_name("title"))
            .filter_map(|it| it.text())
            .collect();
        assert_eq!(
            titles,
            [
                "<&\"'> 1: 7f0000000000-7f0000001000 rw-s",
                "reader 2: 7f0000000000-7f0000001000 r--s",
            ]
        );
        // The second half of the second window.
        let mut bar = document
            .descendants()
            .filter(|it| it.attribute("fill-opacity") == Some("0.5"));
        let bar = bar.next_back().expect("a bar");
        let number = |node: roxmltree::Node<'_, '_>, name: &str| -> usize {
            node.attribute(name).expect(name).parse().expect("a number")
        };
        let frames = document
            .descendants()
            .rfind(|it| it.attribute("fill") == Some("#f6f6f6"))
            .expect("a border");
        let (x, width) = (number(frames, "x"), number(frames, "width"));
        assert!(
            number(bar, "x").abs_diff(x + width / 2) <= COLUMN,
            "{picture}"
        );
        assert_eq!(number(bar, "x") + number(bar, "width"), x + width);
    }
}
