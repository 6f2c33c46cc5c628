// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the lab needs of the machine it runs on.

use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use duct::cmd;

use crate::arch::Arch;
use crate::cache;
use crate::progress::{logged, Step};
use crate::root::{is_root, isolated};

/// A program and the package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

/// Makes the tree.
const MMDEBSTRAP: Tool = Tool {
    program: "mmdebstrap",
    package: "mmdebstrap",
};
/// Gives a user namespace more than one user.
const NEWUIDMAP: Tool = Tool {
    program: "newuidmap",
    package: "uidmap",
};

/// Installs what is missing, and sees whether the rest is as it must be.
pub(crate) fn ready() -> Result<()> {
    let needed = if is_root() {
        vec![MMDEBSTRAP]
    } else {
        vec![MMDEBSTRAP, NEWUIDMAP]
    };
    let missing: Vec<_> = needed
        .iter()
        .filter(|tool| which::which(tool.program).is_err())
        .map(|tool| tool.package)
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let output = isolated(["true"])
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    ensure!(
        output.status.success(),
        "this machine does not let {} have namespaces; run as root, or allow it ({})",
        if is_root() { "this root" } else { "users" },
        String::from_utf8_lossy(&output.stdout).trim()
    );
    Ok(())
}

/// Installs what compiles programs for another architecture, and sees whether Rust has a library for it.
pub(crate) fn ready_for(arch: &Arch) -> Result<()> {
    if which::which(format!("{}-gcc", arch.gnu)).is_err() {
        let compiler = format!("gcc-{}", arch.gnu.replace('_', "-"));
        let library = format!("libc6-dev-{}-cross", arch.name);
        install(&[&compiler, &library])?;
    }
    let has_library = || -> Result<bool> {
        let found = cmd!("rustc", "--print", "target-libdir", "--target", arch.target).read()?;
        Ok(Path::new(&found).exists())
    };
    if has_library()? {
        return Ok(());
    }
    let (target, name) = (arch.target, arch.name);
    ensure!(
        which::which("rustup").is_ok(),
        "this Rust has no library for {target}, and there is no rustup, which could add it; for Debian's Rust, as root: \
         dpkg --add-architecture {name} && apt-get update && apt-get install libstd-rust-dev:{name}"
    );
    let log = cache::logs()?.join("rustup.log");
    let step = Step::new(format!("adding Rust's library for {target}"), None);
    logged(&cmd!("rustup", "target", "add", target), &log, |_| {})?;
    step.done();
    Ok(())
}

/// Installs packages, as root or through sudo.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if which::which("apt-get").is_err() {
        bail!(
            "{} missing, and this machine has no apt-get: the lab needs Debian or a relative",
            packages.join(", ")
        );
    }
    let sudo: &[&str] = match which::which("sudo") {
        _ if is_root() => &[],
        Ok(_) => {
            eprintln!("lab: {} missing: installing with sudo", packages.join(", "));
            // Asked for here, where a password can be typed.
            cmd!("sudo", "-v")
                .run()
                .with_context(|| format!("sudo refused; as root, run: {by_hand}"))?;
            &["sudo"]
        }
        Err(_) => bail!("{} missing; as root, run: {by_hand}", packages.join(", ")),
    };
    let apt = |args: &[&str]| {
        let argv: Vec<_> = sudo
            .iter()
            .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y"])
            .chain(args)
            .copied()
            .collect();
        cmd(argv[0], &argv[1..])
    };
    let log = cache::logs()?.join("host.log");
    let step = Step::new(
        format!("installing {} on this machine", packages.join(", ")),
        None,
    );
    let mut args = vec!["install", "--no-install-recommends"];
    args.extend(packages);
    // A fresh machine has no package lists, an old one outdated ones.
    if logged(&apt(&args), &log, |_| {}).is_err() {
        logged(&apt(&["update"]), &log, |_| {}).context("apt-get update failed")?;
        logged(&apt(&args), &log, |_| {}).with_context(|| format!("{by_hand} failed"))?;
    }
    step.done();
    Ok(())
}

/// The Debian mirror that this machine uses, and the one for security, as apt names them.
pub(crate) fn mirrors() -> Option<(String, Option<String>)> {
    let targets = cmd!(
        "apt-get",
        "indextargets",
        "--format",
        "$(ORIGIN) $(REPO_URI) $(CODENAME)"
    )
    .stderr_null()
    .read()
    .unwrap_or_default();
    pick_mirrors(std::env::var("CHRMEM_MIRROR").ok(), &targets)
}

/// See [`mirrors`].
fn pick_mirrors(set: Option<String>, targets: &str) -> Option<(String, Option<String>)> {
    let of_debian = || {
        targets
            .lines()
            .filter_map(|line| line.strip_prefix("Debian ")?.split_once(' '))
    };
    let found = |security: bool| {
        of_debian()
            .find(|(_, codename)| match security {
                true => codename.ends_with("-security"),
                false => !codename.contains('-') && !codename.contains('/'),
            })
            .map(|(uri, _)| uri.trim_end_matches('/').to_owned())
    };
    Some((set.or_else(|| found(false))?, found(true)))
}

#[cfg(test)]
mod tests {
    use super::pick_mirrors;

    const TARGETS: &str = "Debian http://a.test/debian-security/ bookworm-security\nOther http://o.test/ stable\n\
                           Debian http://a.test/debian/ bookworm-updates\nDebian http://b.test/debian/ bookworm\n";

    #[test]
    fn takes_the_distribution_itself() {
        let found = pick_mirrors(None, TARGETS);
        assert_eq!(
            found,
            Some((
                "http://b.test/debian".into(),
                Some("http://a.test/debian-security".into())
            ))
        );
    }

    #[test]
    fn the_environment_wins() {
        let found = pick_mirrors(Some("http://c.test".into()), TARGETS);
        assert_eq!(
            found.map(|(mirror, _)| mirror),
            Some("http://c.test".into())
        );
    }

    #[test]
    fn another_distribution_has_none() {
        assert_eq!(
            pick_mirrors(None, "Ubuntu http://u.test/ubuntu/ noble\n"),
            None
        );
    }
}
