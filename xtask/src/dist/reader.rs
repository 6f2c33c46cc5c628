// SPDX-License-Identifier: MIT OR Apache-2.0

//! A reader, who has a machine with nothing of ours and types what the pages show for it.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use chrmem_pages::{compare, Block, Place};
use duct::cmd;
use fs_err as fs;

use crate::progress::logged;
use crate::{pages, workspace};

/// What there is to type, in a folder: for each block `N` of the pages a folder with a file for each command. What each prints is
/// expected in a file of the same name below `printed`.
pub(super) struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// Writes down in `dir` what there is to type.
    pub(super) fn prepare(dir: PathBuf) -> Result<Self> {
        for (block, (_, shown)) in numbered(blocks()?) {
            let block = dir.join(block);
            fs::create_dir_all(&block)?;
            for (number, step) in numbered(shown.steps()) {
                fs::write(block.join(number), step.command)?;
            }
        }
        Ok(Self { dir })
    }

    /// Compares what was printed with what the pages show.
    pub(super) fn compare(&self) -> Result<()> {
        let mut faults = Vec::new();
        for (number, (page, block)) in numbered(blocks()?) {
            let printed = self.dir.join("printed").join(number);
            for (number, step) in numbered(block.steps()) {
                let text = fs::read(printed.join(number)).context("a command was not typed")?;
                let text = String::from_utf8_lossy(&text);
                if let Err(complaint) = compare(&step.output, &text, &block.varies) {
                    let (line, command) = (step.line, step.command);
                    faults.push(format!("{page}:{line}: {command}\n{complaint}"));
                }
            }
        }
        if !faults.is_empty() {
            bail!("{}", faults.join("\n"));
        }
        Ok(())
    }
}

/// What is typed on a user's machine, in order, each block with its page.
fn blocks() -> Result<Vec<(String, Block)>> {
    let mut found = Vec::new();
    for page in pages::all()? {
        let blocks = page.blocks_for(Place::Machine).cloned();
        found.extend(blocks.map(|block| (page.name.clone(), block)));
    }
    ensure!(
        !found.is_empty(),
        "no page has anything for a reader to type"
    );
    Ok(found)
}

/// Each with a number that sorts as text does.
fn numbered<T>(list: Vec<T>) -> impl Iterator<Item = (String, T)> {
    list.into_iter()
        .enumerate()
        .map(|(number, it)| (format!("{number:02}"), it))
}

/// Puts the checkout into an archive, as git would clone it to `chrmem`, with the packages that were made of it.
pub(super) fn checkout(archive: &Path, packages: &[PathBuf]) -> Result<()> {
    let work = tempfile::tempdir_in(super::folder()?)?;
    let dir = work.path().join("chrmem");
    let top = workspace::dir();
    let copy = |from: &Path, to: PathBuf| -> Result<()> {
        fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        fs::copy(from, to)?;
        Ok(())
    };
    for file in workspace::files()? {
        let path = top.join(&file);
        // git knows also what was just removed.
        if path.is_file() {
            copy(&path, dir.join(&file))?;
        }
    }
    for package in packages {
        let name = package.file_name().context("a file without a name")?;
        copy(package, dir.join("target/dist").join(name))?;
    }
    cmd!(
        "tar",
        "--format=posix",
        "-C",
        work.path(),
        "-cf",
        archive,
        "chrmem"
    )
    .run()?;
    Ok(())
}

/// Puts into `dir` the crates that the library needs: the guest has no network to get them from.
pub(super) fn crates(dir: &Path) -> Result<()> {
    let project = dir.with_extension("project");
    fs::create_dir_all(project.join("src"))?;
    fs::write(project.join("src/lib.rs"), "")?;
    let library = workspace::dir().join("lib").display().to_string();
    let manifest = format!(
        "[package]\nname = \"reader\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
         [dependencies]\nchrmem = {{ path = {library:?} }}\n"
    );
    fs::write(project.join("Cargo.toml"), manifest)?;
    // The versions that the project itself has, which are there already.
    let versions = workspace::dir().join("Cargo.lock");
    fs::copy(versions, project.join("Cargo.lock"))?;
    let vendor = cmd!(workspace::cargo(), "vendor", "--quiet", dir).dir(&project);
    logged(&vendor, &super::folder()?.join("vendor.log"), |_| {})
}
