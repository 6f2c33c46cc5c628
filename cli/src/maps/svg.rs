// SPDX-License-Identifier: MIT OR Apache-2.0

//! The picture as a file for browsers and documents.

use super::canvas::{arrange, cells};
use super::Mapped;
use crate::size::Exact;
use std::fmt::Write;

/// Pixels of a process's name and number.
const LABEL: usize = 150;

/// Pixels of all windows.
const WINDOWS: usize = 640;

/// Pixels of addresses.
const ADDRESSES: usize = 290;

/// The narrowest that a window may be, in pixels.
const NARROWEST: usize = 56;

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
    let columns = arrange(device, WINDOWS, NARROWEST);
    let top = y;
    for column in &columns {
        let window = &device.windows[column.window];
        let x = LABEL + column.start;
        // A character is about seven pixels wide.
        let name: String = window.name.chars().take(column.width / 7).collect();
        text(x, y, &name, "", body);
        let size = Exact(window.size);
        text(x, y + 14, &format!("{size}"), " fill=\"#666\"", body);
    }
    y += 14 + 8;
    let bars = y;
    let mut processes = Vec::new();
    for mapping in &device.mappings {
        let new = !processes.contains(&mapping.pid);
        if new {
            processes.push(mapping.pid);
            let label = format!("{} {}", mapping.process, mapping.pid);
            text(8, y + 14, &label, "", body);
        }
        let colour = COLOURS[(processes.len() - 1) % COLOURS.len()];
        let opacity = if mapping.is_writable() { "1" } else { "0.5" };
        let end = mapping.address.saturating_add(mapping.size);
        let place = format!("{:x}-{end:x} {}", mapping.address, mapping.permissions);
        for column in &columns {
            let whole = device.windows[column.window].range();
            let lit = cells(&whole, &mapping.range(), column.width);
            if !lit.is_empty() {
                let _ = writeln!(
                    body,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\" \
                     fill-opacity=\"{opacity}\"><title>{} {}: {place}</title></rect>",
                    LABEL + column.start + lit.start,
                    y + 3,
                    lit.len(),
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
        y += LINE;
    }
    for column in &columns {
        let _ = writeln!(
            body,
            "<rect x=\"{}\" y=\"{bars}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#999\"/>",
            LABEL + column.start,
            column.width,
            y - bars,
        );
    }
    let hidden = device.windows.len() - columns.len();
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
    use crate::maps::{Mapping, Window};
    use roxmltree::Document;

    #[test]
    fn the_picture_is_well_formed_whatever_a_process_calls_itself() {
        let window = |name: &str, offset, size| Window {
            name: name.to_owned(),
            offset,
            size,
        };
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
            vec![window("header", 0, 4096), window("frames", 4096, 8192)],
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
            .rfind(|it| it.attribute("fill") == Some("none"))
            .expect("a border");
        let (x, width) = (number(frames, "x"), number(frames, "width"));
        assert!(number(bar, "x").abs_diff(x + width / 2) <= 1, "{picture}");
        assert_eq!(number(bar, "x") + number(bar, "width"), x + width);
    }
}
