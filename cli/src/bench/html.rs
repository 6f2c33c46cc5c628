// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reports as one page for a browser, with nothing outside of it.

use super::clock::Unit;
use super::pictures::pictures;
use super::report::Report;
use super::table;
use crate::xml::escaped;
use std::fmt::Write;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>chrmem bench</title>
<style>
body { margin: 0; background: #f1f3f5; color: #212529; font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1580px; margin: 0 auto; padding: 24px }
h1 { font-size: 28px; margin: 0 }
h2 { font-size: 20px; margin: 36px 0 2px }
p { margin: 2px 0 14px; color: #495057 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); gap: 18px }
.charts svg { width: 100%; display: block }
.unit { font-weight: 600; color: #c2255c }
details { margin-top: 18px; background: white; border: 1px solid #dee2e6; border-radius: 8px; padding: 12px 18px }
summary { cursor: pointer; font-weight: 600 }
pre { overflow-x: auto; font: 12.5px/1.45 ui-monospace, monospace }
@media (prefers-color-scheme: dark) {
body { background: #101113; color: #dee2e6 }
p { color: #adb5bd }
.unit { color: #f783ac }
details { background: #1a1b1e; border-color: #373a40 }
}
</style>
<main>
<h1>chrmem bench</h1>
<p>What direct access to memory costs, beside what else Linux has to share memory with.</p>
";

/// A page of reports, each for itself.
pub(crate) fn page(reports: &[Report]) -> String {
    let mut page = HEAD.to_owned();
    for report in reports {
        let (title, about) = match report.unit {
            Unit::Instructions => (
                "Counted in instructions",
                "The clock counts each instruction of the machine, of programs and kernel alike: figures are \
                 the same on every host. What caches and the TLB cost is not in them.",
            ),
            Unit::Nanoseconds => (
                "Measured in seconds",
                "Figures are this machine's, at that hour.",
            ),
        };
        let _ = writeln!(
            page,
            "<h2>{title}</h2>\n<p><span class=\"unit\">{}</span> · Linux {} · {} × {} · {} MiB. {about}</p>\n\
             <div class=\"charts\">",
            table::unit_name(report.unit),
            escaped(&report.kernel),
            report.processors,
            escaped(&report.processor),
            report.memory >> 20,
        );
        for picture in pictures(report) {
            page += &picture.svg;
        }
        let _ = writeln!(
            page,
            "</div>\n<details{}><summary>All figures, in {}</summary><pre>{}</pre></details>",
            if reports.len() == 1 { " open" } else { "" },
            table::unit_name(report.unit),
            escaped(&table::text(report)),
        );
    }
    page + "</main>\n</html>\n"
}
