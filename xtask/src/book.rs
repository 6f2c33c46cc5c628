// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask book`: the documentation as a book, with Debian's mdBook.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context, Result};
use fs_err as fs;

use crate::cache::Lock;
use crate::progress::{logged, Step};
use crate::root::Bind;
use crate::setup::{self, Lab};
use crate::{kernel, workspace};

/// Where the book's program sees things.
const CHECKOUT: &str = "/run/chrmem/checkout";
const OUTPUT: &str = "/run/chrmem/output";
const MDBOOK: &str = "/run/chrmem/mdbook";

/// Prints the program out of its package, for the tree's release. It needs no more than the C library.
const FETCH: &str = "\
cd /tmp
apt-get download -qq mdbook >&2 || { apt-get update -qq >&2; apt-get download -qq mdbook >&2; }
dpkg-deb --fsys-tarfile mdbook_*.deb | tar -xO ./usr/bin/mdbook";

/// What opens the book.
const START: &str = "<!DOCTYPE html>
<meta charset=\"utf-8\"><title>chrmem</title>
<meta http-equiv=\"refresh\" content=\"0; url=docs/index.html\">
<a href=\"docs/index.html\">The book</a>
";

/// Makes the book, and says where it is.
pub(crate) fn run() -> Result<ExitCode> {
    let lab = setup::native(kernel::STOCK)?;
    println!("{}", make(&lab)?.join("index.html").display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the book: its directory. What the pages link to is beside them, as in the checkout.
pub(crate) fn make(lab: &Lab) -> Result<PathBuf> {
    let program = program(lab)?;
    let (checkout, book) = (workspace::dir(), workspace::target()?.join("book"));
    fs::create_dir_all(&book)?;
    let _alone = Lock::exclusive(&book.with_extension("lock"), "making the book")?;
    fs::remove_dir_all(&book)?;
    let pages = book.join("docs");
    fs::create_dir_all(&pages)?;
    let binds = [
        Bind::read_only(&checkout, CHECKOUT),
        Bind::read_only(&program, MDBOOK),
        Bind::writable(&pages, OUTPUT),
    ];
    let log = book.with_extension("log");
    let build = [MDBOOK, "build", "--dest-dir", OUTPUT, CHECKOUT];
    logged(&lab.root.command(&binds, build), &log, |_| {}).context("mdBook failed")?;
    let said = fs::read_to_string(&log)?;
    // A file that is to be included and is not there is no failure to it.
    ensure!(
        !said.contains("[ERROR]") && !said.contains("[WARN]"),
        "mdBook complains:\n{said}"
    );
    fs::write(book.join("index.html"), START)?;
    add_linked(&checkout, &book, &pages)?;
    Ok(book)
}

/// mdBook, of the tree's own release.
fn program(lab: &Lab) -> Result<PathBuf> {
    let home = lab.root.dir().with_file_name("mdbook");
    if !home.exists() {
        let step = Step::new("fetching mdBook", None);
        let dir = lab.root.dir().parent().context("a tree has a place")?;
        let new = tempfile::NamedTempFile::new_in(dir)?;
        lab.root
            .script(FETCH, &[])
            .stdout_path(new.path())
            .run()
            .context("cannot fetch mdBook")?;
        rustix::fs::chmod(new.path(), 0o755.into())?;
        ensure!(new.as_file().metadata()?.len() > 0, "mdBook is empty");
        new.persist(&home)?;
        step.done();
    }
    Ok(home)
}

/// Checks that every link of every page leads somewhere in the book; puts the files of the checkout there that links
/// lead to.
fn add_linked(checkout: &Path, book: &Path, pages: &Path) -> Result<()> {
    let mut faults = BTreeSet::new();
    for page in files(pages)? {
        if page.extension().is_none_or(|ending| ending != "html") {
            continue;
        }
        let name = page.strip_prefix(book)?;
        // These two are served at any address.
        if name.ends_with("404.html") || name.ends_with("print.html") {
            continue;
        }
        let text = fs::read_to_string(&page)?;
        for link in links(&text) {
            if let Some(fault) = follow(checkout, book, name, &link)? {
                faults.insert(format!("{}: {link}: {fault}", name.display()));
            }
        }
    }
    if !faults.is_empty() {
        bail!(
            "links lead nowhere:\n{}",
            faults.into_iter().collect::<Vec<_>>().join("\n")
        );
    }
    Ok(())
}

/// What is wrong with a link of a page, if anything.
fn follow(checkout: &Path, book: &Path, page: &Path, link: &str) -> Result<Option<String>> {
    let elsewhere = ["http://", "https://", "mailto:", "javascript:", "data:"];
    if elsewhere.iter().any(|scheme| link.starts_with(scheme)) {
        return Ok(None);
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let Some(target) = (match path {
        "" => Some(page.to_path_buf()),
        path => plain(&page.parent().unwrap_or(page).join(path)),
    }) else {
        return Ok(Some("outside of the checkout".into()));
    };
    let (made, source) = (book.join(&target), checkout.join(&target));
    if !made.exists() {
        if source.is_dir() {
            // What a browser shows of a folder on a web server is that server's business.
            return Ok(Some("a folder: name a file in it".into()));
        }
        if !source.exists() {
            return Ok(Some("there is no such file".into()));
        }
        fs::create_dir_all(made.parent().unwrap_or(&made))?;
        fs::copy(source, &made)?;
    }
    if !anchor.is_empty() && made.extension().is_some_and(|ending| ending == "html") {
        let text = fs::read_to_string(&made)?;
        if !text.contains(&format!("id=\"{anchor}\"")) {
            return Ok(Some("there is no such place in it".into()));
        }
    }
    Ok(None)
}

/// A path without `..` in it, if it does not lead out.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir if plain.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(plain)
}

/// What the attributes of a page link to.
fn links(text: &str) -> Vec<String> {
    ["href=\"", "src=\""]
        .iter()
        .flat_map(|attribute| text.split(attribute).skip(1))
        .filter_map(|rest| Some(rest.split_once('"')?.0.replace("&amp;", "&")))
        .collect()
}

/// All files below a directory.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut left) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{links, plain};
    use std::path::{Path, PathBuf};

    #[test]
    fn links_are_found_and_followed() {
        let page = "<a href=\"../driver/file.rs\">x</a> <img src=\"a.svg\">";
        assert_eq!(links(page), ["../driver/file.rs", "a.svg"]);
        let at = |path: &str| plain(Path::new(path));
        assert_eq!(
            at("docs/guide/../../driver/./file.rs"),
            Some(PathBuf::from("driver/file.rs"))
        );
        assert_eq!(at("docs/../../secret"), None);
    }
}
