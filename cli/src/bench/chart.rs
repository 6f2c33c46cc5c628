// SPDX-License-Identifier: MIT OR Apache-2.0

//! Charts as SVG.

use super::goals::{say, Outcome};
use super::table::{number, size};
use std::fmt::Write;

/// Pixels of a chart.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;

/// Pixels around what is plotted: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 66.0, 150.0, 46.0);

/// Pixels from one name to the next, at least.
const APART: f64 = 16.0;

/// The colour of what a chart is about.
const MINE: &str = "#c2255c";

/// The colours of the others, in turn: told apart also by those who do not see all of them.
const OTHERS: [&str; 6] = [
    "#0072b2", "#e69f00", "#009e73", "#7a5195", "#56b4e9", "#6c757d",
];

/// What an axis says.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Axis {
    /// Bytes, each step sixteen times the one before.
    Bytes,
    /// A few whole numbers.
    Count,
    /// Powers of ten.
    Powers,
    /// From zero on, evenly.
    Even,
}

/// Points joined by lines.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether the chart is about this one.
    pub(super) mine: bool,
}

/// Lines over one pair of axes.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// Where values are on an axis.
struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// An axis from pixel `start` to pixel `end` that has all values on it.
    fn new(axis: Axis, values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match axis {
            Axis::Powers => (
                10_f64.powf(low.log10().floor()),
                10_f64.powf(high.log10().ceil()),
            ),
            Axis::Even => (0.0, high * 1.1),
            Axis::Bytes | Axis::Count => (low, high),
        };
        Self {
            axis,
            low,
            high,
            start,
            end,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let part = match self.axis {
            Axis::Bytes | Axis::Powers => (value / self.low).ln() / (self.high / self.low).ln(),
            Axis::Count | Axis::Even => (value - self.low) / (self.high - self.low),
        };
        // All values may be the same one.
        let part = if part.is_finite() { part } else { 0.5 };
        self.start + part * (self.end - self.start)
    }

    /// Where there is a mark, and what it says.
    fn marks(&self) -> Vec<(f64, String)> {
        let (mut value, step): (f64, fn(f64, f64) -> f64) = match self.axis {
            Axis::Bytes => (self.low, |value, _| value * 16.0),
            Axis::Powers => (self.low, |value, _| value * 10.0),
            Axis::Count => (self.low, |value, _| value + 1.0),
            Axis::Even => (0.0, |value, high| {
                let size = 10_f64.powf((high / 2.0).log10().floor());
                let steps = (high / size / 5.0).ceil();
                value + size * steps
            }),
        };
        let mut marks = Vec::new();
        while value <= self.high * 1.001 && marks.len() < 20 {
            let text = match self.axis {
                // CAST: whole numbers of bytes.
                Axis::Bytes => size(value as u64),
                Axis::Count => format!("{value:.0}"),
                Axis::Powers | Axis::Even => short(value),
            };
            marks.push((value, text));
            value = step(value, self.high);
        }
        marks
    }
}

/// A number in few characters: `20 k`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        _ if value >= 1e9 => (value / 1e9, " G"),
        _ if value >= 1e6 => (value / 1e6, " M"),
        _ if value >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{value:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

impl Chart<'_> {
    /// Draws it.
    pub(super) fn draw(&self) -> String {
        let (left, top, right, bottom) = MARGIN;
        let all = || self.lines.iter().flat_map(|line| line.points.iter());
        let x = Scale::new(self.x, all().map(|it| it.0), left, WIDTH - right);
        let y = Scale::new(self.y, all().map(|it| it.1), HEIGHT - bottom, top);
        let mut body = heading(self.title, self.subtitle);
        for (value, text) in y.marks() {
            let at = y.at(value);
            let _ = writeln!(
                body,
                "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#e9ecef\"/>\
                 <text x=\"{}\" y=\"{:.1}\" class=\"mark\" text-anchor=\"end\">{text}</text>",
                WIDTH - right,
                left - 8.0,
                at + 4.0,
            );
        }
        for (value, text) in x.marks() {
            let at = x.at(value);
            let _ = writeln!(
                body,
                "<line x1=\"{at:.1}\" y1=\"{0}\" x2=\"{at:.1}\" y2=\"{1}\" stroke=\"#adb5bd\"/>\
                 <text x=\"{at:.1}\" y=\"{2}\" class=\"mark\" text-anchor=\"middle\">{text}</text>",
                HEIGHT - bottom,
                HEIGHT - bottom + 5.0,
                HEIGHT - bottom + 20.0,
            );
        }
        let mut others = OTHERS.iter().cycle();
        let mut names = Vec::new();
        // What the chart is about is drawn last, over the others.
        let mut lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| match line.mine {
                true => (line, MINE, 3.0),
                false => (line, *others.next().unwrap_or(&MINE), 1.8),
            })
            .collect();
        lines.sort_by_key(|(line, ..)| line.mine);
        for (line, colour, width) in lines {
            let places: Vec<_> = line
                .points
                .iter()
                .map(|point| (x.at(point.0), y.at(point.1)))
                .collect();
            let joined: Vec<_> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = writeln!(
                body,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
                 stroke-linejoin=\"round\"/>",
                joined.join(" ")
            );
            for ((at_x, at_y), (value_x, value_y)) in places.iter().zip(&line.points) {
                let what = match self.x {
                    // CAST: whole numbers of bytes.
                    Axis::Bytes => size(*value_x as u64),
                    _ => format!("{value_x:.0}"),
                };
                let _ = writeln!(
                    body,
                    "<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"{}\" fill=\"{colour}\">\
                     <title>{}, {what}: {}</title></circle>",
                    width + 0.7,
                    line.name,
                    number(*value_y),
                );
            }
            if let Some((at_x, at_y)) = places.last() {
                names.push((*at_x, *at_y, line, colour));
            }
        }
        // A name stands beside its line's end, and none over another.
        names.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut free = top;
        let room = names.len() as f64 * APART;
        for (index, (at_x, at_y, line, colour)) in names.iter().enumerate() {
            let left_over = room - index as f64 * APART;
            let place = at_y.max(free).min(HEIGHT - bottom + APART - left_over);
            free = place + APART;
            let _ = writeln!(
                body,
                "<line x1=\"{:.1}\" y1=\"{at_y:.1}\" x2=\"{2:.1}\" y2=\"{place:.1}\" \
                 stroke=\"{colour}\" stroke-opacity=\"0.35\"/><text x=\"{3:.1}\" y=\"{1:.1}\" \
                 fill=\"{colour}\" class=\"name\"{4}>{5}</text>",
                at_x + 5.0,
                place + 4.0,
                WIDTH - right + 14.0,
                WIDTH - right + 18.0,
                if line.mine {
                    " font-weight=\"bold\""
                } else {
                    ""
                },
                line.name,
            );
        }
        framed(HEIGHT, &body)
    }
}

/// Draws goals: how much of what is allowed each takes.
pub(super) fn bars(title: &str, subtitle: &str, outcomes: &[Outcome]) -> String {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 375.0;
    let top = MARGIN.1 + 10.0;
    let end = WIDTH - 120.0;
    let height = top + outcomes.len() as f64 * ROW + 34.0;
    // What is allowed lies at two thirds.
    let allowed = NAMES + (end - NAMES) / 1.5;
    let mut body = heading(title, subtitle);
    for (index, it) in outcomes.iter().enumerate() {
        let y = top + index as f64 * ROW;
        let part = it.value / it.limit;
        let width = ((allowed - NAMES) * part).min(end - NAMES);
        let colour = if part <= 1.001 { "#2b8a3e" } else { "#e8590c" };
        let peer = it
            .peer
            .map_or(String::new(), |(who, _)| format!(" : {who}"));
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{:.1}\" class=\"mark\" text-anchor=\"end\">{}{peer}</text>\
             <rect x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\" \
             fill=\"{colour}\"/><text x=\"{}\" y=\"{:.1}\" class=\"name\">{} of {}</text>",
            NAMES - 8.0,
            y + 13.0,
            it.name,
            y + 2.0,
            ROW - 10.0,
            end + 10.0,
            y + 13.0,
            say(it.value),
            say(it.limit),
        );
    }
    let _ = writeln!(
        body,
        "<line x1=\"{allowed}\" y1=\"{0}\" x2=\"{allowed}\" y2=\"{1}\" stroke=\"#212529\" \
         stroke-dasharray=\"4 3\"/><text x=\"{allowed}\" y=\"{2}\" class=\"mark\" \
         text-anchor=\"middle\">the goal: no further</text>",
        top - 4.0,
        height - 30.0,
        height - 14.0,
    );
    framed(height, &body)
}

/// The title and what it is in.
fn heading(title: &str, subtitle: &str) -> String {
    format!(
        "<text x=\"20\" y=\"30\" font-size=\"17\" font-weight=\"bold\" fill=\"#212529\">{title}</text>\n\
         <text x=\"20\" y=\"49\" font-size=\"12.5\" fill=\"#495057\">{subtitle}</text>\n"
    )
}

/// The whole picture.
fn framed(height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\">\n<style>.mark {{ font-size: 12px; fill: #495057 }} \
         .name {{ font-size: 12.5px }}</style>\n<rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" \
         fill=\"white\" stroke=\"#dee2e6\"/>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::Document;

    #[test]
    fn a_chart_has_its_lines_in_its_frame() {
        let line = |name: &str, mine, factor: f64| Line {
            name: name.to_owned(),
            points: [64.0, 4096.0, 1e6].map(|it| (it, it * factor)).to_vec(),
            mine,
        };
        let chart = Chart {
            title: "Title",
            subtitle: "Subtitle",
            x: Axis::Bytes,
            y: Axis::Powers,
            lines: vec![line("mine", true, 2.0), line("other", false, 300.0)],
        };
        let svg = chart.draw();
        let document = Document::parse(&svg).expect("XML");
        let lines = document
            .descendants()
            .filter(|it| it.has_tag_name("polyline"));
        assert_eq!(lines.count(), 2);
        for point in document
            .descendants()
            .filter(|it| it.has_tag_name("circle"))
        {
            let number = |name| point.attribute(name).and_then(|it| it.parse::<f64>().ok());
            let (x, y) = (number("cx").expect("x"), number("cy").expect("y"));
            assert!(
                (64.0..=610.0).contains(&x) && (66.0..=354.0).contains(&y),
                "{svg}"
            );
        }
    }

    #[test]
    fn marks_are_few_and_round() {
        let marks = |axis, values: &[f64]| -> Vec<String> {
            let scale = Scale::new(axis, values.iter().copied(), 0.0, 100.0);
            scale.marks().into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(
            marks(Axis::Bytes, &[64.0, 65536.0]),
            ["64 B", "1 KiB", "16 KiB"]
        );
        assert_eq!(
            marks(Axis::Powers, &[130.0, 5e4]),
            ["100", "1 k", "10 k", "100 k"]
        );
        assert_eq!(marks(Axis::Count, &[1.0, 2.0]), ["1", "2"]);
        assert_eq!(marks(Axis::Even, &[7.0e5])[..3], ["0", "200 k", "400 k"]);
    }
}
