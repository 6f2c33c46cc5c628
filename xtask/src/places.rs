// SPDX-License-Identifier: MIT OR Apache-2.0

//! Places in the documentation that commands fill: between the lines `<!-- KIND: NAME -->` and `<!-- end -->`.

use std::fmt::Write;

use anyhow::{ensure, Context, Result};

/// The page with new text in its places of this kind. A place that there is nothing new for stays as it is.
pub(crate) fn fill(page: &str, kind: &str, new: impl Fn(&str) -> Option<String>) -> Result<String> {
    let begin = format!("<!-- {kind}: ");
    let mut text = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(&begin) {
        let (name, after) = after
            .split_once(" -->\n")
            .context("a place that does not begin")?;
        let (old, after) = after
            .split_once("<!-- end -->")
            .with_context(|| format!("the place for {name} does not end"))?;
        ensure!(!old.contains("<!--"), "the place for {name} does not end");
        let new = new(name);
        let new = new.as_deref().unwrap_or(old);
        write!(text, "{before}{begin}{name} -->\n{new}<!-- end -->")?;
        rest = after;
    }
    Ok(text + rest)
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn places_are_filled() {
        let page = "# Page\n<!-- facts: a -->\nold\n<!-- end -->\ntext\n<!-- facts: b -->\nkept\n<!-- end -->\n\
            <!-- other: a -->\nkept\n<!-- end -->\n";
        let new = |name: &str| (name == "a").then(|| "new\n".to_owned());
        assert_eq!(
            fill(page, "facts", new).unwrap(),
            page.replace("old", "new")
        );
        assert!(fill("<!-- facts: a -->\nnever ends", "facts", new).is_err());
    }
}
