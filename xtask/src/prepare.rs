// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask kernel prepare`: what Rust modules are built against, for a kernel of this very machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context, Result};
use duct::cmd;
use fs_err as fs;

use crate::arch::Arch;
use crate::cache::{self, Lock};
use crate::kernel::Kernel;
use crate::progress::{logged, Step};
use crate::{host, kernels, recipe};

/// What `cargo xtask kernel` does.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make what Rust modules for an installed kernel are built against, or say which package has it.
    Prepare(Args),
}

/// Which kernel it is about.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The kernel, as `uname -r` calls it; the running one, if not given.
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
}

impl Args {
    /// The kernel's release.
    pub(crate) fn release(&self) -> String {
        self.release.clone().unwrap_or_else(running)
    }
}

/// What `uname -r` says.
fn running() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Makes the tree, where that is for us to do.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let Command::Prepare(args) = command;
    let release = args.release();
    ensure_supported(&release)?;
    if let Some(tree) = tree(&release)? {
        println!("{}", tree.display());
        eprintln!(
            "this is a tree of Linux {release} with Rust metadata: there is nothing to prepare"
        );
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    match advice(&text, &release) {
        None => {
            let tree = debian(&release)?;
            println!("{}", tree.display());
            eprintln!(
                "`cargo xtask install` builds against this tree; so does `make -C driver KDIR=…`"
            );
            Ok(ExitCode::SUCCESS)
        }
        Some(advice) => bail!("Linux {release} has no Rust metadata here: {advice}"),
    }
}

/// An error if the driver is not for this kernel.
pub(crate) fn ensure_supported(release: &str) -> Result<()> {
    let all: Vec<_> = kernels::supported().collect();
    ensure!(
        all.contains(&kernels::series(release)),
        "this is Linux {release}, and the driver is for the series {}",
        all.join(", ")
    );
    Ok(())
}

/// The tree to build modules of `release` against, if there is one.
pub(crate) fn tree(release: &str) -> Result<Option<PathBuf>> {
    let own = own(release)?;
    if own.join("whole").exists() {
        return Ok(Some(own.join("tree")));
    }
    let installed = Path::new("/lib/modules").join(release).join("build");
    let usable = installed.join("rust/libkernel.rmeta").exists();
    Ok(usable.then_some(installed))
}

/// Where the tree is that we make.
fn own(release: &str) -> Result<PathBuf> {
    Ok(cache::dir()?.join("kernels").join(release))
}

/// Which package has the metadata, by what `/etc/os-release` says; none where we make it ourselves.
fn advice(os_release: &str, release: &str) -> Option<String> {
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .trim_matches('"')
    };
    let mut ids = vec![field("ID")];
    ids.extend(field("ID_LIKE").split(' '));
    ids.iter().find_map(|id| {
        Some(match *id {
            "debian" => None,
            "ubuntu" => Some(format!(
                "Ubuntu has it in a package: sudo apt install linux-headers-{release} linux-lib-rust-{release}, and \
                 the rustc that the kernel was built with"
            )),
            "arch" => Some(
                "Arch has it in a package: sudo pacman -S linux-headers rust (the headers of the kernel's own flavour)"
                    .to_owned(),
            ),
            "fedora" => Some(format!(
                "if Fedora has it, then with sudo dnf install kernel-devel-{release} rust; \
                 `rpm -ql kernel-devel-{release} | grep rmeta` tells"
            )),
            _ => return None,
        })
    })
    .unwrap_or_else(|| {
        Some(format!(
            "this distribution is not known: build it from the kernel's source with the configuration of {release} and \
             the same compilers (make prepare modules_prepare), and say make -C driver KDIR=…"
        ))
    })
}

/// Makes the tree of a Debian kernel.
fn debian(release: &str) -> Result<PathBuf> {
    let version = ["headers", "modules", "image"]
        .iter()
        .find_map(|part| version_of(&format!("linux-{part}-{release}")))
        .with_context(|| format!("no package of Linux {release} is installed"))?;
    let kernel = Kernel::packaged_as(Arch::native(), release, version);
    let source = format!("linux-source-{}", kernel.series());
    let mut missing: Vec<String> = recipe::BUILD
        .concat()
        .into_iter()
        .filter(|package| version_of(package).is_none())
        .map(str::to_owned)
        .collect();
    for package in [format!("linux-headers-{release}"), source] {
        if version_of(&package).as_ref() != Some(&kernel.version) {
            missing.push(format!("{package}={}", kernel.version));
        }
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(String::as_str).collect();
        host::install(&names)?;
    }
    let own = own(release)?;
    let _alone = Lock::exclusive(&own.join("lock"), "preparing this kernel")?;
    let step = Step::new(
        format!("building what modules need of Linux {}", kernel.version),
        None,
    );
    let script = include_str!("../lab/own-kernel.sh");
    let tree = own.join("tree");
    // Debian's compilers, whatever else is on the user's path.
    let make = cmd!(
        "env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL=C.UTF-8",
        "sh",
        "-c",
        script,
        "own-kernel",
        release,
        kernel.series(),
        kernel.localversion(),
        &tree
    );
    logged(&make, &own.join("log"), |_| {})?;
    fs::write(own.join("whole"), kernel.record())?;
    step.done();
    Ok(tree)
}

/// The installed version of a package.
fn version_of(package: &str) -> Option<String> {
    let format = "${db:Status-Status} ${Version}";
    let text = cmd!(
        "dpkg-query",
        "--show",
        format!("--showformat={format}"),
        package
    )
    .stderr_null()
    .read()
    .ok()?;
    Some(text.strip_prefix("installed ")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn each_distribution_is_told_its_package() {
        let release = "7.2.12-amd64";
        assert_eq!(advice("ID=debian\n", release), None);
        assert_eq!(advice("ID=raspbian\nID_LIKE=debian\n", release), None);
        for (text, part) in [
            ("ID=ubuntu\nID_LIKE=debian\n", "linux-lib-rust-7.2.12-amd64"),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                "linux-lib-rust-",
            ),
            ("ID=cachyos\nID_LIKE=arch\n", "linux-headers"),
            ("ID=fedora\n", "kernel-devel-7.2.12-amd64"),
            ("ID=void\n", "not known"),
            ("", "not known"),
        ] {
            let said = advice(text, release).expect(text);
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
