// SPDX-License-Identifier: MIT OR Apache-2.0

//! Facts for `docs/reliability.md`: lines `report: GROUP: WHAT: VALUE`.
//!
//! `cargo xtask test` keeps them, and `cargo xtask report` puts them into the page. Where several
//! tests tell numbers of the same thing, these are added up. What is written `ROW × COLUMN` becomes a
//! cell of a table.

use std::fmt::Display;
use std::fs;
use std::io::Write;

/// Where the tests, each a process of its own, leave their facts.
const FILE: &str = "/tmp/chrmem-report";

/// Tells a fact, which a test has just seen.
pub(crate) fn fact(group: &str, what: &str, value: impl Display) {
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(FILE)
        .expect(FILE);
    // In one piece, so that it stays a line whoever else writes.
    let line = format!("report: {group}: {what}: {value}\n");
    file.write_all(line.as_bytes()).expect(FILE);
}

/// Prints all facts.
pub(crate) fn print() {
    // There is no file if there was no fact.
    print!("{}", fs::read_to_string(FILE).unwrap_or_default());
}
