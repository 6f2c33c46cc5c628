// SPDX-License-Identifier: MIT OR Apache-2.0

//! Small Debian trees beside the lab's: one where packages are made, and others where they are used.

use anyhow::{Context, Result};
use fs_err as fs;

use crate::arch::Arch;
use crate::cache::{self, Lock};
use crate::debian::{self, apt_progress, Installation};
use crate::kernel::Kernel;
use crate::progress::{logged, Step};
use crate::root::Root;
use crate::{host, recipe};

/// To be raised when code here changes what comes out.
const REVISION: u32 = 1;

/// What is in a tree.
pub(crate) struct Recipe<'a> {
    /// What it is for, to be shown.
    pub(crate) purpose: &'a str,
    /// The architecture of which packages can be asked for, beside this machine's.
    pub(crate) arch: &'a Arch,
    /// Packages of the release.
    pub(crate) packages: &'a [&'a str],
    /// A kernel, of which the tree gets the modules.
    pub(crate) kernel: Option<&'a Kernel>,
}

/// A tree. Nobody removes it while this value lives.
pub(crate) struct Tree {
    /// The tree.
    pub(crate) root: Root,
    _lock: Lock,
}

impl Tree {
    /// The tree of this recipe, made if it is not there.
    pub(crate) fn get(recipe: &Recipe<'_>) -> Result<Self> {
        let key = format!(
            "{REVISION} {} {} {:?} {:?} {}",
            recipe::SUITE,
            recipe.arch.name,
            recipe.packages,
            recipe.kernel.map(Kernel::record),
            recipe::AVAILABLE
        );
        let home = cache::roots()?.join(recipe::digest(key.as_bytes()));
        let lock_file = home.with_extension("lock");
        let busy = "setting up a Debian tree";
        let root = Root::new(home.join("root"));
        let whole = home.join("whole");
        let mut lock = Lock::shared(&lock_file, busy)?;
        if !whole.exists() {
            drop(lock);
            {
                let _alone = Lock::exclusive(&lock_file, busy)?;
                if !whole.exists() {
                    host::ready()?;
                    make(recipe, &root, &home)
                        .with_context(|| format!("no Debian {}", recipe.purpose))?;
                    fs::write(&whole, key)?;
                }
            }
            lock = Lock::shared(&lock_file, busy)?;
        }
        Ok(Self { root, _lock: lock })
    }
}

fn make(recipe: &Recipe<'_>, root: &Root, home: &std::path::Path) -> Result<()> {
    let installation = Installation {
        purpose: recipe.purpose,
        packages: recipe.packages.to_vec(),
        without: &[],
        architectures: &recipe.arch.beside_native(),
        unpacked: None,
    };
    debian::install(&installation, root.dir(), &home.join("debian.log"))?;
    let Some(kernel) = recipe.kernel else {
        return Ok(());
    };
    let step = Step::new(format!("its Linux {}", kernel.version), Some(0));
    logged(
        &root.script(recipe::AVAILABLE, &[recipe::SUITE]),
        &home.join("available.log"),
        |_| {},
    )?;
    let modules = format!("linux-modules-{}={}", kernel.packaged(), kernel.version);
    let argv = [
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        &modules,
    ];
    logged(&root.changing(argv), &home.join("kernel.log"), |line| {
        apt_progress(&step, line)
    })?;
    root.changing(["apt-get", "clean"]).stdout_null().run()?;
    step.done();
    Ok(())
}
