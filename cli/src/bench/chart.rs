// SPDX-License-Identifier: MIT OR Apache-2.0

//! Charts as SVG.

use super::goals::{say, Outcome};
use super::table::{number, size};
use crate::xml::{escaped, style};
use std::fmt::Write;

/// Pixels of a chart.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;

/// Pixels around what is plotted: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (80.0, 66.0, 176.0, 66.0);

/// Pixels from one name to the next, at least.
const APART: f64 = 16.0;

/// The colours, each by the name of its class: what it colours, then for light and for dark pages.
const COLOURS: &[(&str, &str, &str, &str)] = &[
    ("paper", "fill", "#ffffff", "#1a1b1e"),
    ("paper", "stroke", "#dee2e6", "#373a40"),
    ("title", "fill", "#212529", "#f1f3f5"),
    ("mark", "fill", "#495057", "#ced4da"),
    ("name", "fill", "#212529", "#f1f3f5"),
    ("grid", "stroke", "#e9ecef", "#2c2e33"),
    ("tick", "stroke", "#adb5bd", "#5c5f66"),
    ("goal", "stroke", "#212529", "#f1f3f5"),
    // Bars: a goal that was reached, one that was missed, and one that is not judged.
    ("met", "fill", "#2b8a3e", "#51cf66"),
    ("missed", "fill", "#e8590c", "#ff922b"),
    ("unjudged", "fill", "#748ffc", "#91a7ff"),
    // What a chart is about.
    ("mine0", "color", "#c2255c", "#f783ac"),
    ("mine1", "color", "#7d0e3a", "#ffdeeb"),
    // The others, told apart also by those who do not see all colours.
    ("other0", "color", "#0072b2", "#4dabf7"),
    ("other1", "color", "#e69f00", "#ffc078"),
    ("other2", "color", "#009e73", "#38d9a9"),
    ("other3", "color", "#7a5195", "#b197fc"),
    ("other4", "color", "#56b4e9", "#99e9f2"),
    ("other5", "color", "#6c757d", "#adb5bd"),
];

/// How many colours there are for lines that a chart is about, and for others.
const MINE: usize = 2;
const OTHERS: usize = 6;

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

/// Lines over one pair of axes, each with its name.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    pub(super) x: (Axis, &'a str),
    pub(super) y: (Axis, &'a str),
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

impl Axis {
    /// What the axis is called, if it shows values that are called `name`.
    fn label(self, name: &str) -> String {
        match self {
            Self::Bytes | Self::Powers => format!("{name}, log scale"),
            Self::Count | Self::Even => name.to_owned(),
        }
    }
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
        let x = Scale::new(self.x.0, all().map(|it| it.0), left, WIDTH - right);
        let y = Scale::new(self.y.0, all().map(|it| it.1), HEIGHT - bottom, top);
        let mut body = heading(self.title, self.subtitle);
        let _ = writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{}\" class=\"mark\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(22 {:.1}) rotate(-90)\" class=\"mark\" \
             text-anchor=\"middle\">{}</text>",
            (left + WIDTH - right) / 2.0,
            HEIGHT - bottom + 44.0,
            escaped(&self.x.0.label(self.x.1)),
            (top + HEIGHT - bottom) / 2.0,
            escaped(&self.y.0.label(self.y.1)),
        );
        for (value, text) in y.marks() {
            let at = y.at(value);
            let _ = writeln!(
                body,
                "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" class=\"grid\"/>\
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
                "<line x1=\"{at:.1}\" y1=\"{0}\" x2=\"{at:.1}\" y2=\"{1}\" class=\"tick\"/>\
                 <text x=\"{at:.1}\" y=\"{2}\" class=\"mark\" text-anchor=\"middle\">{text}</text>",
                HEIGHT - bottom,
                HEIGHT - bottom + 5.0,
                HEIGHT - bottom + 20.0,
            );
        }
        let mut names = Vec::new();
        let mut lines = self.styled();
        // What the chart is about is drawn last, over the others.
        lines.sort_by_key(|(line, _)| line.mine);
        for (line, style) in lines {
            let width = if line.mine { 3.0 } else { 1.8 };
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
                "<polyline points=\"{}\" fill=\"none\" class=\"{}\" stroke=\"currentColor\" \
                 stroke-width=\"{width}\" stroke-linejoin=\"round\"{}/>",
                joined.join(" "),
                style.class,
                style.dashes(),
            );
            for ((at_x, at_y), (value_x, value_y)) in places.iter().zip(&line.points) {
                let what = match self.x.0 {
                    // CAST: whole numbers of bytes.
                    Axis::Bytes => size(*value_x as u64),
                    _ => format!("{value_x:.0}"),
                };
                let _ = writeln!(
                    body,
                    "<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"{}\" class=\"{}\" \
                     fill=\"currentColor\"><title>{}, {what}: {}</title></circle>",
                    width + 0.7,
                    style.class,
                    escaped(&line.name),
                    number(*value_y),
                );
            }
            if let Some((at_x, at_y)) = places.last() {
                names.push((*at_x, *at_y, line, style));
            }
        }
        // A name stands beside its line's end, and none over another.
        names.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut free = top;
        let room = names.len() as f64 * APART;
        for (index, (at_x, at_y, line, style)) in names.iter().enumerate() {
            let left_over = room - index as f64 * APART;
            let place = at_y.max(free).min(HEIGHT - bottom + APART - left_over);
            free = place + APART;
            let _ = writeln!(
                body,
                "<g class=\"{6}\"><line x1=\"{0:.1}\" y1=\"{at_y:.1}\" x2=\"{2:.1}\" y2=\"{place:.1}\" \
                 stroke=\"currentColor\" stroke-opacity=\"0.35\"/><text x=\"{3:.1}\" y=\"{1:.1}\" \
                 fill=\"currentColor\" font-size=\"12.5\"{4}>{5}</text></g>",
                at_x + 5.0,
                place + 4.0,
                WIDTH - right + 14.0,
                WIDTH - right + 18.0,
                if line.mine {
                    " font-weight=\"bold\""
                } else {
                    ""
                },
                escaped(&line.name),
                style.class,
            );
        }
        framed(HEIGHT, &body)
    }

    /// The lines, each with a style that no other line has.
    fn styled(&self) -> Vec<(&Line, Style)> {
        let (mut mine, mut others) = (0, 0);
        let styles = self.lines.iter().map(|line| {
            let (count, colours, class) = match line.mine {
                true => (&mut mine, MINE, "mine"),
                false => (&mut others, OTHERS, "other"),
            };
            let style = Style {
                class: format!("{class}{}", *count % colours),
                dash: *count / colours,
            };
            *count += 1;
            (line, style)
        });
        styles.collect()
    }
}

/// How a line is drawn.
#[derive(PartialEq)]
struct Style {
    /// The class of its colour.
    class: String,
    /// Pixels of its dashes, in threes; none is an unbroken line.
    dash: usize,
}

impl Style {
    /// The attribute for its dashes.
    fn dashes(&self) -> String {
        match self.dash {
            0 => String::new(),
            dash => format!(" stroke-dasharray=\"{} 3\"", 3 * dash),
        }
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
        let class = match it.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "unjudged",
        };
        let peer = it
            .peer
            .as_ref()
            .map_or(String::new(), |(who, _)| format!(" : {who}"));
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{:.1}\" class=\"mark\" text-anchor=\"end\">{}{peer}</text>\
             <rect x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\" \
             class=\"{class}\"/><text x=\"{}\" y=\"{:.1}\" class=\"name\" font-size=\"12.5\">{} of {}</text>",
            NAMES - 8.0,
            y + 13.0,
            escaped(&it.name),
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
        "<line x1=\"{allowed}\" y1=\"{0}\" x2=\"{allowed}\" y2=\"{1}\" class=\"goal\" \
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
        "<text x=\"20\" y=\"30\" font-size=\"17\" font-weight=\"bold\" class=\"title\">{}</text>\n\
         <text x=\"20\" y=\"49\" class=\"mark\">{}</text>\n",
        escaped(title),
        escaped(subtitle),
    )
}

/// The whole picture.
fn framed(height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<style>{}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" class=\"paper\"/>\n{body}</svg>\n",
        style(COLOURS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::assert_colours;
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
            x: (Axis::Bytes, "size"),
            y: (Axis::Powers, "instructions"),
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
                (80.0..=584.0).contains(&x) && (66.0..=354.0).contains(&y),
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

    /// The picture, and the elements of it that have a name.
    fn elements<'a>(document: &'a Document<'a>, name: &'a str) -> Vec<roxmltree::Node<'a, 'a>> {
        let all = document.descendants();
        all.filter(|it| it.has_tag_name(name)).collect()
    }

    #[test]
    fn no_two_lines_look_the_same_and_both_axes_have_names() {
        let line = |index: usize| Line {
            name: format!("<line {index}>"),
            points: vec![(1.0, 1.0 + index as f64), (2.0, 9.0)],
            mine: index < 4,
        };
        let chart = Chart {
            title: "Title & more",
            subtitle: "Subtitle",
            x: (Axis::Count, "threads"),
            y: (Axis::Powers, "nanoseconds"),
            lines: (0..20).map(line).collect(),
        };
        let svg = chart.draw();
        let document = Document::parse(&svg).expect("XML");
        let mut looks: Vec<_> = elements(&document, "polyline")
            .into_iter()
            .map(|it| (it.attribute("class"), it.attribute("stroke-dasharray")))
            .collect();
        looks.sort_unstable();
        looks.dedup();
        assert_eq!(looks.len(), 20, "{svg}");
        let texts: Vec<_> = elements(&document, "text")
            .into_iter()
            .filter_map(|it| it.text())
            .collect();
        for text in [
            "threads",
            "nanoseconds, log scale",
            "Title & more",
            "<line 7>",
        ] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
    }

    #[test]
    fn each_class_has_a_colour_for_light_and_for_dark_pages() {
        let outcome = |met| Outcome {
            name: "a goal".to_owned(),
            mine: 1.0,
            peer: None,
            value: 1.0,
            limit: 2.0,
            met,
        };
        let outcomes = [Some(true), Some(false), None].map(outcome);
        let svg = bars("Title", "Subtitle", &outcomes);
        let document = Document::parse(&svg).expect("XML");
        let bars: Vec<_> = elements(&document, "rect")
            .into_iter()
            .filter_map(|it| it.attribute("class"))
            .collect();
        // Colours say what was judged, and nothing else.
        assert_eq!(bars, ["paper", "met", "missed", "unjudged"]);
        assert_colours(&document);
    }
}
