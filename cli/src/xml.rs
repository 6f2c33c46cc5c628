// SPDX-License-Identifier: MIT OR Apache-2.0

//! Text in pictures and pages.

/// Text as XML and HTML have it. A process may call itself anything: what XML cannot have is left out.
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .filter(|it| *it == '\n' || !it.is_control() && !['\u{fffe}', '\u{ffff}'].contains(it))
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

/// The colours of a picture as a style sheet, for light pages and for dark ones: each class with its
/// declarations, in which the first of a pair is light and the second is dark.
pub(crate) fn style(classes: &[(&str, &str, &str, &str)]) -> String {
    let rules = |dark: bool| -> String {
        let rule = |(class, property, light, darker): &(&str, &str, &str, &str)| {
            format!(
                ".{class} {{ {property}: {} }} ",
                if dark { darker } else { light }
            )
        };
        classes.iter().map(rule).collect()
    };
    format!(
        "{}\n@media (prefers-color-scheme: dark) {{ {}}}",
        rules(false).trim_end(),
        rules(true)
    )
}

/// Asserts that each class of a picture has a colour for light and for dark pages.
#[cfg(test)]
pub(crate) fn assert_colours(picture: &roxmltree::Document<'_>) {
    let style = picture.descendants().find(|it| it.has_tag_name("style"));
    let style = style.and_then(|it| it.text()).expect("rules");
    let (light, dark) = style
        .split_once("@media (prefers-color-scheme: dark)")
        .expect("both");
    for class in picture.descendants().filter_map(|it| it.attribute("class")) {
        let rule = format!(".{class} {{");
        assert!(
            light.contains(&rule) && dark.contains(&rule),
            "{class}: {style}"
        );
    }
}
