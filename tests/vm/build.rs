// SPDX-License-Identifier: MIT OR Apache-2.0

//! Puts every page of the documentation into the tests, so that none is forgotten.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let top = Path::new("../..");
    let single = ["README.md", "CONTRIBUTING.md", "cli/README.md"];
    let mut pages = single.map(|page| top.join(page)).to_vec();
    find(&top.join("docs"), &mut pages)?;
    pages.sort();
    let mut list = String::from("&[\n");
    for page in &pages {
        println!("cargo::rerun-if-changed={}", page.display());
        let name = page.strip_prefix(top).unwrap_or(page).display();
        let path = fs::canonicalize(page)?;
        let _ = writeln!(
            list,
            "    ({:?}, include_str!({path:?})),",
            name.to_string()
        );
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("pages.rs"), list)
}

/// Adds the pages of a folder and those below it.
fn find(folder: &Path, pages: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, pages)?;
        } else if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
    Ok(())
}
