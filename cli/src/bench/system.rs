// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine that is measured, and settings of it that are changed meanwhile.

use super::maps::HUGE;
use crate::stderr;
use anyhow::{Context, Result};
use rustix::thread::disable_transparent_huge_pages;
use std::fs;
use std::path::PathBuf;

/// The kernel's release.
pub(crate) fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// The processor's name.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// Bytes of memory.
pub(crate) fn memory() -> u64 {
    meminfo("MemTotal:")
}

/// Bytes that can still be had.
pub(crate) fn available() -> u64 {
    meminfo("MemAvailable:")
}

fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
    kibibytes
        .and_then(|it| it.parse::<u64>().ok())
        .map_or(0, |it| it << 10)
}

/// This process has no memory mapped by huge page-table entries until this is dropped, other than from a pool.
pub(crate) struct NoHugePages(());

impl NoHugePages {
    pub(crate) fn new() -> Result<Self> {
        disable_transparent_huge_pages(true).context("cannot switch huge pages off by prctl")?;
        Ok(Self(()))
    }
}

impl Drop for NoHugePages {
    fn drop(&mut self) {
        // What could be switched off can be switched on.
        let _ = disable_transparent_huge_pages(false);
    }
}

/// A setting of the system that has another value until this is dropped.
pub(crate) struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    /// Switches huge pages off.
    pub(crate) fn no_huge_pages() -> Result<Self> {
        Self::change("/sys/kernel/mm/transparent_hugepage/enabled", |_| {
            "never".into()
        })
    }

    /// Puts aside as many more huge pages of 2 MiB as `bytes` need, for `MFD_HUGETLB`.
    pub(crate) fn reserved(bytes: u64) -> Result<Self> {
        // Those that there are may be in use, and would be hard to get back.
        Self::change("/proc/sys/vm/nr_hugepages", |before| {
            let pages = before.parse::<u64>().unwrap_or(0) + bytes.div_ceil(HUGE);
            pages.to_string()
        })
    }

    /// Gives the setting the value that `value` makes of the one before.
    fn change(path: &str, value: impl FnOnce(&str) -> String) -> Result<Self> {
        let context = || format!("cannot set {path}");
        let before = fs::read_to_string(path).with_context(context)?;
        // One of several words is marked: `always [madvise] never`.
        let marked = before
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        let before = marked.map_or(before.trim(), |(word, _)| word).to_owned();
        fs::write(path, value(&before)).with_context(context)?;
        Ok(Self {
            path: path.into(),
            before,
        })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.before) {
            let path = self.path.display();
            stderr::say(format_args!(
                "note: {path} is not what it was, {}: {error}",
                self.before
            ));
        }
    }
}
