// SPDX-License-Identifier: MIT OR Apache-2.0

//! The picture as a file for browsers and documents.

use super::canvas::{arrange, cells};
use super::Mapped;
use crate::size::Exact;
use crate::xml::{escaped, style};
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

/// The colours, each by the name of its class: what it colours, then for light and for dark pages.
const COLOURS: &[(&str, &str, &str, &str)] = &[
    ("paper", "fill", "#ffffff", "#1a1b1e"),
    ("text", "fill", "#212529", "#f1f3f5"),
    ("about", "fill", "#666666", "#adb5bd"),
    ("window", "fill", "#f6f6f6", "#25262b"),
    ("window", "stroke", "#bbbbbb", "#5c5f66"),
    // Processes, in turn: told apart also by those who do not see all colours.
    ("process0", "fill", "#0072b2", "#4dabf7"),
    ("process1", "fill", "#e69f00", "#ffc078"),
    ("process2", "fill", "#009e73", "#38d9a9"),
    ("process3", "fill", "#cc79a7", "#e599f7"),
    ("process4", "fill", "#d55e00", "#ff922b"),
    ("process5", "fill", "#56b4e9", "#99e9f2"),
];

/// How many colours there are for processes.
const PROCESSES: usize = 6;

/// How much of its colour a bar has that its process may not write.
const READ_ONLY: &str = "0.5";

/// Draws devices.
pub(crate) fn draw(devices: &[Mapped]) -> String {
    let mut body = String::new();
    let mut y = LINE;
    if devices.is_empty() {
        text(8, y, "There are no devices.", "text", "", &mut body);
        y += LINE;
    } else {
        draw_legend(y, &mut body);
        y += 2 * LINE;
    }
    for device in devices {
        y = draw_device(device, y, &mut body) + LINE;
    }
    let width = LABEL + WINDOWS + ADDRESSES;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{y}\" \
         viewBox=\"0 0 {width} {y}\" font-family=\"monospace\" font-size=\"12\">\n\
         <style>{}</style>\n<rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n{body}</svg>\n",
        style(COLOURS)
    )
}

/// Says what is what, in one line.
fn draw_legend(y: usize, body: &mut String) {
    const BOX: usize = 24;
    let mut x = 8;
    for (shape, meaning) in [
        (
            "class=\"window\"".to_owned(),
            "a window, the larger the wider, but not in proportion",
        ),
        (
            "class=\"process0\"".to_owned(),
            "a mapping that can be written; a colour for each process",
        ),
        (
            format!("class=\"process0\" fill-opacity=\"{READ_ONLY}\""),
            "a read-only mapping",
        ),
    ] {
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{}\" width=\"{BOX}\" height=\"{}\" {shape}/>",
            y - 11,
            LINE - 6,
        );
        text(x + BOX + 8, y, meaning, "about", "", body);
        // A character is about seven pixels wide.
        x += BOX + 8 + 8 * meaning.len();
    }
}

/// Draws a device from `y` on: where it ends.
fn draw_device(device: &Mapped, mut y: usize, body: &mut String) -> usize {
    let fate = if device.destroyed { ", destroyed" } else { "" };
    text(
        8,
        y,
        &format!("{}{fate}", device.node),
        "text",
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
        text(x, y, &name, "text", "", body);
        let (size, offset) = (Exact(window.size), window.offset);
        let about = [format!("{size} at {offset:#x}"), format!("{size}")];
        let fits = about.iter().find(|it| it.len() <= room);
        text(x, y + 14, fits.unwrap_or(&about[1]), "about", "", body);
    }
    y += if columns.is_empty() { 0 } else { 14 + 8 };
    let lines = device.mappings.len().max(1) * LINE;
    for column in &columns {
        let _ = writeln!(
            body,
            "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{lines}\" rx=\"2\" class=\"window\"/>",
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
            text(8, y + 14, &label, "text", "", body);
        }
        let colour = (processes.len() - 1) % PROCESSES;
        let opacity = if mapping.is_writable() {
            "1"
        } else {
            READ_ONLY
        };
        let end = mapping.address.saturating_add(mapping.size);
        let place = format!("{:x}-{end:x} {}", mapping.address, mapping.permissions);
        for column in &columns {
            let whole = device.windows()[column.window].range();
            let lit = cells(&whole, &mapping.range(), column.width);
            if !lit.is_empty() {
                let _ = writeln!(
                    body,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"process{colour}\" \
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
        if columns.is_empty() {
            let what = format!("{} at {:#x}", Exact(mapping.size), mapping.offset);
            text(LABEL, y + 14, &what, "text", "", body);
        }
        text(LABEL + WINDOWS + 12, y + 14, &place, "about", "", body);
        y += LINE;
    }
    if device.mappings.is_empty() {
        let italic = " font-style=\"italic\"";
        text(
            LABEL + WINDOWS + 12,
            y + 14,
            "not mapped",
            "about",
            italic,
            body,
        );
        y += LINE;
    }
    let hidden = device.windows().len() - columns.len();
    if hidden > 0 {
        let more = format!("and {hidden} more windows");
        text(LABEL + WINDOWS + 12, top, &more, "about", "", body);
    }
    y + LINE
}

/// Writes text, the baseline at `y`, in the colour of a class.
fn text(x: usize, y: usize, text: &str, class: &str, more: &str, body: &mut String) {
    let _ = writeln!(
        body,
        "<text x=\"{x}\" y=\"{y}\" class=\"{class}\"{more}>{}</text>",
        escaped(text)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::fixture::{devices, window};
    use crate::maps::Mapping;
    use crate::xml::assert_colours;
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
            .filter(|it| it.attribute("fill-opacity") == Some(READ_ONLY));
        let bar = bar.next_back().expect("a bar");
        let number = |node: roxmltree::Node<'_, '_>, name: &str| -> usize {
            node.attribute(name).expect(name).parse().expect("a number")
        };
        let frames = document
            .descendants()
            .rfind(|it| it.attribute("class") == Some("window"))
            .expect("a border");
        let (x, width) = (number(frames, "x"), number(frames, "width"));
        assert!(
            number(bar, "x").abs_diff(x + width / 2) <= COLUMN,
            "{picture}"
        );
        assert_eq!(number(bar, "x") + number(bar, "width"), x + width);
    }

    #[test]
    fn a_legend_says_what_is_what_and_no_devices_are_said() {
        let texts = |picture: &str| -> Vec<String> {
            let document = Document::parse(picture).expect("XML");
            let all = document.descendants();
            let texts = all.filter(|it| it.has_tag_name("text"));
            texts
                .filter_map(|it| it.text().map(str::to_owned))
                .collect()
        };
        let some = texts(&draw(&devices()));
        for part in ["a window", "can be written", "read-only"] {
            assert!(some.iter().any(|it| it.contains(part)), "{part}: {some:?}");
        }
        assert_eq!(texts(&draw(&[])), ["There are no devices."]);
    }

    #[test]
    fn each_class_has_a_colour_for_light_and_for_dark_pages() {
        let picture = draw(&devices());
        let document = Document::parse(&picture).expect("XML");
        assert_colours(&document);
    }
}
