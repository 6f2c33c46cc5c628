// SPDX-License-Identifier: MIT OR Apache-2.0

//! A Debian tree that programs run in, as root or as one who is not.
//!
//! Programs get namespaces of their own: mounts go with them, and so do their children when this program ends, however
//! it ends. Without root, a user namespace gives what `chroot` and `mount` need.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Result;
use duct::Expression;

/// Whether this program runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command in namespaces of its own, in the host's file system.
pub(crate) fn isolated<T: AsRef<OsStr>>(command: impl IntoIterator<Item = T>) -> Expression {
    let mut argv = vec!["--pdeathsig", "KILL", "--", "unshare"];
    if !is_root() {
        argv.extend(["--map-root-user", "--map-auto"]);
    }
    argv.extend(["--mount", "--pid", "--fork", "--kill-child=KILL", "--"]);
    let mut argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
    argv.extend(command.into_iter().map(|word| word.as_ref().to_os_string()));
    let path = std::env::var("PATH").unwrap_or_default();
    // Debian gives users no sbin, where mmdebstrap's and apt's helpers are.
    duct::cmd("setpriv", argv).env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
}

/// Removes a tree, also where its files belong to users that only the namespace knows.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        isolated([
            OsStr::new("rm"),
            "-rf".as_ref(),
            "--one-file-system".as_ref(),
            dir.as_os_str(),
        ])
        .run()?;
    }
    Ok(())
}

/// A directory of the host that a program in the tree sees.
pub(crate) struct Bind<'a> {
    source: &'a Path,
    target: &'a str,
    writable: bool,
}

impl<'a> Bind<'a> {
    /// Shows `source` as `target`. Only `/run` and `/tmp` can hold a new `target`.
    pub(crate) fn read_only(source: &'a Path, target: &'a str) -> Self {
        Self {
            source,
            target,
            writable: false,
        }
    }

    /// The same, for reading and writing.
    pub(crate) fn writable(source: &'a Path, target: &'a str) -> Self {
        Self {
            source,
            target,
            writable: true,
        }
    }
}

/// The tree.
#[derive(Clone)]
pub(crate) struct Root {
    dir: PathBuf,
}

impl Root {
    /// The tree in `dir`.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command in the tree, which it can't change.
    pub(crate) fn command<T: AsRef<OsStr>>(
        &self,
        binds: &[Bind<'_>],
        argv: impl IntoIterator<Item = T>,
    ) -> Expression {
        self.enter("ro", binds, argv)
    }

    /// A command whose changes to the tree last as long as it does.
    pub(crate) fn trying<T: AsRef<OsStr>>(
        &self,
        binds: &[Bind<'_>],
        argv: impl IntoIterator<Item = T>,
    ) -> Expression {
        self.enter("scratch", binds, argv)
    }

    /// A command that changes the tree.
    pub(crate) fn changing<T: AsRef<OsStr>>(
        &self,
        argv: impl IntoIterator<Item = T>,
    ) -> Expression {
        self.enter("rw", &[], argv)
    }

    /// A shell script in the tree, which changes it.
    pub(crate) fn script(&self, text: &str, args: &[&str]) -> Expression {
        self.changing(["sh", "-c", text, "script"].iter().chain(args))
    }

    fn enter<T: AsRef<OsStr>>(
        &self,
        mode: &str,
        binds: &[Bind<'_>],
        argv: impl IntoIterator<Item = T>,
    ) -> Expression {
        let mut words: Vec<OsString> = ["sh", "-c", include_str!("../lab/enter.sh"), "enter"]
            .into_iter()
            .map(Into::into)
            .collect();
        words.push(self.dir.clone().into());
        words.push(mode.into());
        for bind in binds {
            words.push(if bind.writable { "rw" } else { "ro" }.into());
            words.push(bind.source.into());
            words.push(bind.target.into());
        }
        words.push("--".into());
        words.extend(argv.into_iter().map(|word| word.as_ref().to_os_string()));
        isolated(words)
    }
}
