// SPDX-License-Identifier: MIT OR Apache-2.0

//! Installs Debian into a directory.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use crate::progress::{logged, Step};
use crate::{host, recipe, root};

/// What to install.
pub(crate) struct Installation<'a> {
    /// What it is for, to be shown.
    pub(crate) purpose: &'a str,
    /// The packages, beside those without which there is no Debian.
    pub(crate) packages: Vec<&'a str>,
    /// Folders of `/usr/share` to leave out.
    pub(crate) without: &'a [&'a str],
    /// The architectures: the packages' first, then others that packages can be asked for. The machine's own if empty.
    pub(crate) architectures: &'a [&'a str],
    /// A script that finishes a tree of which nothing can run: packages are only unpacked, and it is given the tree.
    pub(crate) unpacked: Option<&'a str>,
}

/// Makes the tree `dir`, which is there when it is whole; what the tools print goes to `log`.
pub(crate) fn install(what: &Installation<'_>, dir: &Path, log: &Path) -> Result<()> {
    let new = dir.with_extension("new");
    root::remove(&new)?;
    root::remove(dir)?;
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut argv: Vec<String> = ["mmdebstrap", "--verbose", "--mode=root"]
        .map(Into::into)
        .into();
    argv.push(match what.unpacked {
        Some(_) => "--variant=extract".into(),
        None => "--variant=apt".into(),
    });
    if !what.architectures.is_empty() {
        argv.push(format!("--architectures={}", what.architectures.join(",")));
    }
    // A pattern such as `?essential` stands alone.
    let (patterns, names): (Vec<&str>, Vec<&str>) =
        what.packages.iter().partition(|name| name.starts_with('?'));
    argv.extend(patterns.iter().map(|it| format!("--include={it}")));
    argv.push(format!("--include={}", names.join(",")));
    argv.push(r#"--aptopt=APT::Install-Recommends "false""#.into());
    argv.push(r#"--aptopt=Acquire::Retries "3""#.into());
    // The tree is looked at before each use, so dpkg need not wait for the disk.
    argv.push("--dpkgopt=force-unsafe-io".into());
    for docs in what.without {
        argv.push(format!("--dpkgopt=path-exclude=/usr/share/{docs}/*"));
    }
    argv.push(recipe::SUITE.into());
    argv.push(new.display().to_string());
    // Without any, mmdebstrap knows where Debian is.
    if let Some((mirror, security)) = host::mirrors() {
        let suite = recipe::SUITE;
        argv.push(format!("deb {mirror} {suite} main"));
        argv.extend(security.map(|mirror| format!("deb {mirror} {suite}-security main")));
    }
    let step = Step::new(format!("installing Debian {}", what.purpose), Some(0));
    logged(&root::isolated(argv), log, |line| apt_progress(&step, line))?;
    if let Some(script) = what.unpacked {
        let finish = root::isolated([
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
            "finish".as_ref(),
            new.as_os_str(),
        ]);
        logged(&finish, log, |_| {})?;
    }
    fs::rename(new, dir)?;
    step.done();
    Ok(())
}

/// Reads how far apt is from what it prints: three lines a package.
pub(crate) fn apt_progress(step: &Step, line: &str) {
    let first = line.split_whitespace().next().unwrap_or_default();
    if let Some(count) = line
        .split(" newly installed")
        .next()
        .and_then(|text| text.rsplit(' ').next()?.parse::<u64>().ok())
    {
        if line.contains(" newly installed") {
            step.expect_more(3 * count);
        }
    }
    if first.starts_with("Get:")
        || first == "Unpacking"
        || (first == "Setting" && line.starts_with("Setting up"))
    {
        step.advance();
    }
}
