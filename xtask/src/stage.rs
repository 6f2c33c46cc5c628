// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lays out what goes onto a machine beside the module, as it will be there.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use duct::cmd;
use fs_err as fs;
use rustix::fs::chmod;

use crate::workspace;

/// A folder that becomes part of a machine's root.
pub(crate) struct Stage {
    dir: PathBuf,
}

impl Stage {
    /// An empty one in `dir`, which goes if it is there.
    pub(crate) fn empty(dir: PathBuf) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the folder that will be `path`.
    pub(crate) fn folder(&self, path: &str) -> Result<PathBuf> {
        let folder = self.dir.join(path.trim_start_matches('/'));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Writes the file that will be `path`.
    pub(crate) fn write(&self, path: &str, contents: impl AsRef<[u8]>) -> Result<()> {
        let file = self.file(path)?;
        fs::write(&file, contents)?;
        Ok(chmod(&file, 0o644.into())?)
    }

    /// Copies a file of the checkout.
    pub(crate) fn copy(&self, from: &str, path: &str) -> Result<()> {
        self.write(path, fs::read(workspace::dir().join(from))?)
    }

    /// Copies a program.
    pub(crate) fn program(&self, from: &Path, path: &str) -> Result<()> {
        let file = self.file(path)?;
        fs::copy(from, &file)?;
        Ok(chmod(&file, 0o755.into())?)
    }

    fn file(&self, path: &str) -> Result<PathBuf> {
        let file = self.dir.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().context("a file without a folder")?)?;
        Ok(file)
    }
}

/// Puts the command and all that goes with it below `prefix`, `/usr` or `/usr/local`. `here` is the same command for this
/// machine: it writes its manual pages and completions.
pub(crate) fn user_space(stage: &Stage, chrmem: &Path, here: &Path, prefix: &str) -> Result<()> {
    stage.program(chrmem, &format!("{prefix}/bin/chrmem"))?;
    let pages = stage.folder(&format!("{prefix}/share/man/man1"))?;
    cmd!(here, "man", &pages).run()?;
    ensure!(
        pages.join("chrmem.1").exists(),
        "the command made no manual page"
    );
    stage.copy(
        "dist/man/chrmem.4",
        &format!("{prefix}/share/man/man4/chrmem.4"),
    )?;
    // Each system keeps its packages' completions for zsh where those made by hand are not.
    let zsh = match prefix {
        "/usr" => "vendor-completions",
        _ => "site-functions",
    };
    for (shell, file) in [
        ("bash", "bash-completion/completions/chrmem".to_owned()),
        ("zsh", format!("zsh/{zsh}/_chrmem")),
        ("fish", "fish/vendor_completions.d/chrmem.fish".to_owned()),
    ] {
        let script = cmd!(here, "completions", shell).stdout_capture().run()?;
        stage.write(&format!("{prefix}/share/{file}"), script.stdout)?;
    }
    stage.copy(
        "uapi/include/linux/chrmem.h",
        &format!("{prefix}/include/linux/chrmem.h"),
    )?;
    for (from, to) in [
        ("udev/60-chrmem.rules", "udev/rules.d/60-chrmem.rules"),
        ("sysusers.d/chrmem.conf", "sysusers.d/chrmem.conf"),
        ("modules-load.d/chrmem.conf", "modules-load.d/chrmem.conf"),
        ("modprobe.d/chrmem.conf", "modprobe.d/chrmem.conf"),
    ] {
        stage.copy(&format!("dist/{from}"), &format!("{prefix}/lib/{to}"))?;
    }
    Ok(())
}
