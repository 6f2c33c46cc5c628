// SPDX-License-Identifier: MIT OR Apache-2.0

//! The documentation's pages: what they show is run, included from files that something runs, or refused.

use anyhow::{bail, Result};
use chrmem_pages::{blocks, Block, Place};
use duct::cmd;
use fs_err as fs;

use crate::{terminal, workspace};

/// The command whose transcript has a picture.
const DEMO: &str = "cargo xtask demo";

/// A page.
pub(crate) struct Page {
    /// Its path in the checkout.
    pub(crate) name: String,
    text: String,
    blocks: Vec<Block>,
}

/// All pages.
pub(crate) fn all() -> Result<Vec<Page>> {
    let is_page = |file: &String| {
        file.ends_with(".md")
            && (file.starts_with("docs/")
                || file.ends_with("/README.md")
                || ["README.md", "CONTRIBUTING.md"].contains(&&file[..]))
    };
    let mut pages = Vec::new();
    for name in workspace::files()?.into_iter().filter(is_page) {
        let path = workspace::dir().join(&name);
        // git knows also what was just removed.
        if path.exists() {
            let text = fs::read_to_string(path)?;
            let blocks = blocks(&text);
            pages.push(Page { name, text, blocks });
        }
    }
    Ok(pages)
}

/// Checks that every block of every page is tested.
pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    let summary = fs::read_to_string(workspace::dir().join("docs/SUMMARY.md"))?;
    for page in all()? {
        page.check(&mut faults);
        let in_book = page.name.strip_prefix("docs/").unwrap_or("SUMMARY.md");
        if in_book != "SUMMARY.md" && !summary.contains(&format!("]({in_book})")) {
            faults.push(format!("{}: not in docs/SUMMARY.md", page.name));
        }
        if page.name == "README.md" {
            page.check_picture(&mut faults)?;
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

impl Page {
    /// Whether a user types something of it in a checkout.
    pub(crate) fn is_typed_on_the_host(&self) -> bool {
        self.blocks_for(Place::Host).next().is_some()
    }

    /// What of it is typed there.
    pub(crate) fn blocks_for(&self, place: Place) -> impl Iterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(move |block| block.place() == Some(place) && block.tested_by.is_none())
    }

    /// Adds what is wrong with the picture of the demo, whose transcript the page has as text as well.
    fn check_picture(&self, faults: &mut Vec<String>) -> Result<()> {
        const PICTURE: &str = "docs/pictures/demo.svg";
        let shown = self
            .blocks_for(Place::Host)
            .find(|block| block.steps().iter().any(|step| step.command == DEMO))
            .map(|block| terminal::draw(&block.lines.join("\n")));
        let picture = fs::read_to_string(workspace::dir().join(PICTURE))?;
        if shown != Some(picture) {
            faults.push(format!(
                "{PICTURE} shows another transcript than {}: `{DEMO} --svg {PICTURE}`",
                self.name
            ));
        }
        Ok(())
    }

    /// Types it.
    pub(crate) fn run(&self) -> Result<()> {
        for block in self.blocks_for(Place::Host) {
            for step in block.steps() {
                let output = cmd("sh", ["-c", &step.command])
                    .dir(workspace::dir())
                    .stdin_null()
                    .stdout_capture()
                    .unchecked()
                    .run()?;
                let printed = String::from_utf8_lossy(&output.stdout);
                let succeeded = output.status.success();
                if let Err(complaint) = step.judge(&printed, succeeded, &block.varies) {
                    let (name, line) = (&self.name, step.line);
                    bail!(
                        "{name}:{line}: {} ({})\n{complaint}",
                        step.command,
                        output.status
                    );
                }
            }
        }
        Ok(())
    }

    /// Adds what is wrong with its blocks.
    fn check(&self, faults: &mut Vec<String>) {
        let mut fault =
            |line: usize, what: &str| faults.push(format!("{}:{line}: {what}", self.name));
        for (number, line) in self.text.lines().enumerate() {
            if line.contains("```") && !line.trim_start().starts_with("```") {
                fault(number + 1, "a block has to start in a line of its own");
            }
        }
        for block in &self.blocks {
            if let Some(tester) = &block.tested_by {
                match fs::read_to_string(workspace::dir().join(tester)) {
                    Err(error) => fault(block.line, &error.to_string()),
                    Ok(text) => {
                        for line in lines_to_have(block) {
                            if !text.contains(line.trim()) {
                                fault(block.line, &format!("{tester} does not have: {line}"));
                            }
                        }
                    }
                }
                continue;
            }
            match block.language.as_str() {
                "text" => {}
                "console" if block.place().is_some() => {}
                "console" => fault(block.line, "a transcript starts with `# ` or `$ `"),
                _ => {
                    for line in &block.lines {
                        if let Some(what) = self.lost_include(line) {
                            fault(block.line, &what);
                        }
                    }
                    let is_include = |line: &String| line.trim().starts_with("{{#");
                    if block.lines.is_empty() || !block.lines.iter().all(is_include) {
                        fault(
                            block.line,
                            "what is no transcript is included from a file, or says which file has it: \
                             `tested-by=FILE`",
                        );
                    }
                }
            }
        }
    }
}

impl Page {
    /// What is wrong with a line such as `{{#include ../driver/file.rs:mmap}}`, if anything: of what is not there,
    /// mdBook includes nothing.
    fn lost_include(&self, line: &str) -> Option<String> {
        let what = line.trim().strip_prefix("{{#")?.strip_suffix("}}")?;
        let target = what.split_once(' ')?.1.trim();
        let (file, anchor) = target.split_once(':').unwrap_or((target, ""));
        let page = workspace::dir().join(&self.name);
        let text = match fs::read_to_string(page.parent()?.join(file)) {
            Ok(text) => text,
            Err(error) => return Some(error.to_string()),
        };
        let is_anchor = anchor.starts_with(|it: char| it.is_ascii_alphabetic());
        let is_there = text
            .lines()
            .any(|line| line.trim_end().ends_with(&format!("ANCHOR: {anchor}")));
        (is_anchor && !is_there).then(|| format!("{file} has no ANCHOR: {anchor}"))
    }
}

/// What the file that tests a block must have.
fn lines_to_have(block: &Block) -> Vec<String> {
    if block.place().is_some() {
        block.steps().into_iter().map(|step| step.command).collect()
    } else {
        block.lines.clone()
    }
}
