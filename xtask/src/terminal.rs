// SPDX-License-Identifier: MIT OR Apache-2.0

//! A transcript as a picture of a terminal, for pages.

use std::fmt::Write;

/// Pixels of a character, and of a line.
const WIDTH: usize = 9;
const HEIGHT: usize = 20;

/// Pixels around the text, and of the bar above it.
const MARGIN: usize = 16;
const BAR: usize = 30;

/// Draws a transcript in which `$ ` and `# ` are prompts.
pub(crate) fn draw(transcript: &str) -> String {
    let columns = transcript
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let width = columns.max(64) * WIDTH + 2 * MARGIN;
    let height = transcript.lines().count() * HEIGHT + BAR + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"15\">\n\
         <title>The transcript of the demo</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1d2430\"/>\n\
         <path d=\"M0 {BAR} V8 a8 8 0 0 1 8 -8 H{} a8 8 0 0 1 8 8 V{BAR} z\" fill=\"#2c3646\"/>\n",
        width - 8
    );
    for (index, colour) in ["#e0655f", "#e2b340", "#58b56b"].iter().enumerate() {
        let x = MARGIN + 4 + 20 * index;
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"{}\" r=\"6\" fill=\"{colour}\"/>",
            BAR / 2
        );
    }
    for (index, line) in transcript.lines().enumerate() {
        let y = BAR + MARGIN + index * HEIGHT + 14;
        let is_typed = line.starts_with("$ ") || line.starts_with("# ");
        let colour = if is_typed { "#ffffff" } else { "#aebdd0" };
        let weight = if is_typed {
            " font-weight=\"bold\""
        } else {
            ""
        };
        // Each line as long as its characters, whatever fonts there are.
        let length = line.chars().count() * WIDTH;
        let text = line
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _ = writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y}\" fill=\"{colour}\"{weight} textLength=\"{length}\" \
             lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\">{text}</text>"
        );
    }
    svg += "</svg>\n";
    svg
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn a_line_is_a_text_as_long_as_it_is() {
        let svg = draw("$ a <b>\nc & d\n");
        assert!(svg.contains("textLength=\"63\""), "{svg}");
        assert!(svg.contains(">$ a &lt;b&gt;</text>"), "{svg}");
        assert!(svg.contains(">c &amp; d</text>"), "{svg}");
    }
}
