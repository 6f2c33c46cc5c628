// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask report`: puts what the tests tell of themselves into the documentation.
//!
//! Tests print facts, a line each: `report: GROUP: WHAT: VALUE`. [`keep`] stores those of a run by the run's name. A page
//! has a place for each group, between the lines `<!-- facts: GROUP -->` and `<!-- end -->`, where [`write()`] puts a table
//! with a column for each run. What is written `ROW × COLUMN` goes into a table of its own, of rows and columns.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::{places, workspace};

/// The pages with such places.
const PAGES: [&str; 3] = [
    "docs/reliability.md",
    "docs/importers.md",
    "docs/performance.md",
];

/// What stands between the two parts of a cell's name.
const CROSS: &str = " × ";

/// Facts in the order in which they came: group, what, value.
#[derive(Debug, Default, PartialEq)]
struct Facts(Vec<(String, String, String)>);

impl Facts {
    /// Finds the facts in a run's output. Numbers of the same thing are added up.
    fn of(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines() {
            let fact = line.split_once("report: ").map(|(_, fact)| fact);
            // What was counted may have a colon in it.
            let parts = fact.and_then(|fact| {
                let (group, rest) = fact.split_once(": ")?;
                let (what, value) = rest.rsplit_once(": ")?;
                Some((group, what, value))
            });
            if let Some((group, what, value)) = parts {
                facts.add(group, what, value);
            }
        }
        facts
    }

    /// Adds one; a number is added to what is there.
    fn add(&mut self, group: &str, what: &str, value: &str) {
        match self.value(group, what) {
            Some(old) => {
                *old = match (old.parse::<u64>(), value.parse::<u64>()) {
                    (Ok(old), Ok(new)) => (old + new).to_string(),
                    _ => value.into(),
                }
            }
            None => self.0.push((group.into(), what.into(), value.into())),
        }
    }

    /// Takes over the facts of a later run, which may have had only some of the tests.
    fn update(&mut self, later: Self) {
        for (group, what, value) in later.0 {
            match self.value(&group, &what) {
                Some(old) => *old = value,
                None => self.0.push((group, what, value)),
            }
        }
    }

    fn value(&mut self, group: &str, what: &str) -> Option<&mut String> {
        let is = |fact: &&mut (String, String, String)| fact.0 == group && fact.1 == what;
        self.0.iter_mut().find(is).map(|(_, _, value)| value)
    }

    fn lines(&self) -> String {
        self.0
            .iter()
            .map(|(group, what, value)| format!("report: {group}: {what}: {value}\n"))
            .collect()
    }
}

/// Keeps the facts in the output of the run called `run`, beside those of earlier runs of that name.
pub(crate) fn keep(run: &str, output: &str) -> Result<()> {
    // Two runs may end at the same time.
    static FILES: Mutex<()> = Mutex::new(());
    let _files = FILES.lock();
    let new = Facts::of(output);
    if new.0.is_empty() {
        return Ok(());
    }
    let dir = workspace::target()?.join("report");
    fs::create_dir_all(&dir)?;
    let file = dir.join(run);
    let mut facts = match fs::read_to_string(&file) {
        Ok(text) => Facts::of(&text),
        Err(_) => Facts::default(),
    };
    facts.update(new);
    Ok(fs::write(file, facts.lines())?)
}

/// Writes what was kept into the pages.
pub(crate) fn write() -> Result<ExitCode> {
    let dir = workspace::target()?.join("report");
    let mut runs = BTreeMap::new();
    for entry in fs::read_dir(&dir).context("no facts were kept: run `cargo xtask test` first")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        runs.insert(name.into_owned(), Facts::of(&fs::read_to_string(&path)?));
    }
    let names = Vec::from_iter(runs.keys().map(String::as_str)).join(", ");
    for page in PAGES {
        let path = workspace::dir().join(page);
        let text = fill(&fs::read_to_string(&path)?, &runs)?;
        fs::write(&path, text)?;
        eprintln!("{page}: facts of {names}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The page with new facts in its places. A place that no run has facts for stays as it is.
fn fill(page: &str, runs: &BTreeMap<String, Facts>) -> Result<String> {
    places::fill(page, "facts", |group| {
        Some(tables(group, runs)).filter(|tables| !tables.is_empty())
    })
}

/// All that the runs tell of one group.
fn tables(group: &str, runs: &BTreeMap<String, Facts>) -> String {
    let of_group = |facts: &Facts| -> Vec<(String, String)> {
        let facts = facts.0.iter().filter(|fact| fact.0 == group);
        facts
            .map(|(_, what, value)| (what.clone(), value.clone()))
            .collect()
    };
    let runs: Vec<_> = runs
        .iter()
        .map(|(run, facts)| (run.clone(), of_group(facts)))
        .filter(|(_, facts)| !facts.is_empty())
        .collect();
    let mut plain = Table::default();
    let mut crossed: Vec<Table> = Vec::new();
    for (run, facts) in &runs {
        let mut table = Table::default();
        for (what, value) in facts {
            match what.split_once(CROSS) {
                Some((row, column)) => table.set(row, column, value),
                None => plain.set(what, run, value),
            }
        }
        // Runs that agree are told once.
        match crossed.iter_mut().find(|other| other.cells == table.cells) {
            Some(same) => same.title += &format!(", {run}"),
            None => crossed.push(Table {
                title: run.clone(),
                ..table
            }),
        }
    }
    crossed.retain(|table| !table.cells.is_empty());
    let mut text = String::new();
    if !plain.cells.is_empty() {
        text += &plain.show();
    }
    for table in crossed {
        text += &table.show();
    }
    text
}

/// Rows and columns in the order in which they came.
#[derive(Default)]
struct Table {
    /// What is in the corner.
    title: String,
    rows: Vec<String>,
    columns: Vec<String>,
    cells: BTreeMap<(String, String), String>,
}

impl Table {
    fn set(&mut self, row: &str, column: &str, value: &str) {
        for (list, name) in [(&mut self.rows, row), (&mut self.columns, column)] {
            if !list.iter().any(|it| it == name) {
                list.push(name.into());
            }
        }
        self.cells.insert((row.into(), column.into()), value.into());
    }

    /// In Markdown, with lines around it.
    fn show(&self) -> String {
        let mut text = format!("\n| {} |", self.title);
        for column in &self.columns {
            text += &format!(" {column} |");
        }
        text += &format!("\n|---|{}\n", "---|".repeat(self.columns.len()));
        for row in &self.rows {
            text += &format!("| {row} |");
            for column in &self.columns {
                let cell = self.cells.get(&(row.clone(), column.clone()));
                text += &format!(" {} |", cell.map_or("", String::as_str));
            }
            text.push('\n');
        }
        text + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::{fill, Facts, PAGES};
    use crate::workspace;

    #[test]
    fn numbers_add_up_and_words_do_not() {
        let text = "test a ... report: load: rounds: 10\nok\nreport: load: rounds: 5\nreport: load: fio: held: yes\n";
        let lines = "report: load: rounds: 15\nreport: load: fio: held: yes\n";
        assert_eq!(Facts::of(text).lines(), lines);
    }

    #[test]
    fn a_later_run_replaces_what_it_tells() {
        let mut facts = Facts::of("report: load: rounds: 10\nreport: load: other: 1\n");
        facts.update(Facts::of("report: load: rounds: 3\n"));
        assert_eq!(
            facts.lines(),
            "report: load: rounds: 3\nreport: load: other: 1\n"
        );
    }

    #[test]
    fn facts_go_to_their_place() {
        let page = "# Page\n<!-- facts: load -->\nold\n<!-- end -->\ntext\n<!-- facts: none -->\nkept\n<!-- end -->\n";
        let stock = "report: load: rounds: 10\nreport: load: rmmod × open: refused\nreport: load: destroy × open: ENODEV\n";
        let debug = "report: load: rounds: 1\nreport: load: rmmod × open: refused\nreport: load: destroy × open: ENODEV\n";
        let runs = [("stock", stock), ("debug", debug)];
        let runs = runs.map(|(run, text)| (run.into(), Facts::of(text))).into();
        let expected = "# Page\n<!-- facts: load -->\n\n\
            |  | debug | stock |\n|---|---|---|\n| rounds | 1 | 10 |\n\n\n\
            | debug, stock | open |\n|---|---|\n| rmmod | refused |\n| destroy | ENODEV |\n\n\
            <!-- end -->\ntext\n<!-- facts: none -->\nkept\n<!-- end -->\n";
        assert_eq!(fill(page, &runs).unwrap(), expected);
        assert!(fill("<!-- facts: load -->\nnever ends", &runs).is_err());
    }

    #[test]
    fn the_pages_name_tests_that_there_are() {
        let read = |page| std::fs::read_to_string(workspace::dir().join(page)).unwrap();
        let text = PAGES.map(read).concat();
        let named = text
            .split('`')
            .filter(|words| !words.contains(' '))
            .filter_map(|words| words.split_once("::"));
        let mut count = 0;
        for (file, test) in named {
            let path = workspace::dir().join(format!("tests/vm/src/{file}.rs"));
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                text.contains(&format!("fn {test}() {{")),
                "no {file}::{test}"
            );
            // And it is run.
            assert!(text.contains(&format!("    {test}\n")), "{file}::{test}");
            count += 1;
        }
        assert!(count > 50);
    }
}
