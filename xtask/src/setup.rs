// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes the lab's tree, stage by stage.
//!
//! A finished stage leaves a stamp that lists its files with their sizes. Each use looks whether they are still so: what
//! is missing or different is made again, and an interrupted set-up goes on with the stage it was in.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use fs_err as fs;

use crate::cache::{self, Lock};
use crate::debian::{self, apt_progress, Installation};
use crate::kernel::{self, Kernel};
use crate::progress::{logged, Step};
use crate::root::Root;
use crate::{host, recipe};

/// The finished lab. Nobody changes it while this value lives.
pub(crate) struct Lab {
    /// The tree.
    pub(crate) root: Root,
    /// The kernel in it.
    pub(crate) kernel: Kernel,
    /// The initramfs that boots it.
    pub(crate) initramfs: PathBuf,
    _lock: Lock,
}

/// The lab, made or repaired where necessary.
pub(crate) fn lab() -> Result<Lab> {
    let home = cache::roots()?.join(recipe::key());
    let lock_file = home.with_extension("lock");
    let busy = "setting up the lab";
    let mut lock = Lock::shared(&lock_file, busy)?;
    let home = Home {
        root: Root::new(home.join("root")),
        dir: home,
    };
    while home.first_unfinished(false).is_some() {
        drop(lock);
        {
            let _alone = Lock::exclusive(&lock_file, "using or setting up the lab")?;
            home.set_up()?;
        }
        lock = Lock::shared(&lock_file, busy)?;
    }
    let kernel = home.kernel()?;
    let initramfs = home.initramfs(&kernel)?;
    Ok(Lab {
        root: home.root,
        kernel,
        initramfs,
        _lock: lock,
    })
}

/// One stage of the set-up.
struct Stage {
    /// For logs and stamps.
    name: &'static str,
    /// The directories that its stamp lists.
    watched: &'static [&'static str],
    /// Where to begin when its files are damaged: packages and sources are not repaired one by one.
    again_from: usize,
    build: fn(&Home) -> Result<()>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "debian",
        watched: &["usr/bin", "usr/lib", "usr/include"],
        again_from: 0,
        build: Home::debian,
    },
    Stage {
        name: "kernel",
        watched: &["usr/lib/modules", "usr/bin"],
        again_from: 0,
        build: Home::packages,
    },
    Stage {
        name: "source",
        watched: &["usr/src/linux/rust", "usr/src/linux/include/linux"],
        again_from: 2,
        build: Home::source,
    },
    Stage {
        name: "prepare",
        watched: &[
            "usr/src/linux/rust",
            "usr/src/linux/scripts",
            "usr/src/linux/include",
            "usr/src/linux/arch/x86",
        ],
        again_from: 2,
        build: Home::prepare,
    },
];

/// The directory of one recipe.
struct Home {
    dir: PathBuf,
    root: Root,
}

impl Home {
    /// The first stage to be built, if any; `report` says why.
    fn first_unfinished(&self, report: bool) -> Option<usize> {
        STAGES.iter().enumerate().find_map(|(index, stage)| {
            let stamp = fs::read_to_string(self.stamp(stage)).ok();
            let Some(stamp) = stamp else {
                return Some(index);
            };
            let damage = damage(self.root.dir(), &stamp)?;
            if report {
                eprintln!("lab: {damage}; making it again");
            }
            Some(stage.again_from)
        })
    }

    /// Builds what is unfinished.
    fn set_up(&self) -> Result<()> {
        let Some(first) = self.first_unfinished(true) else {
            return Ok(());
        };
        host::ready()?;
        for stage in &STAGES[first..] {
            if let Err(error) = fs::remove_file(self.stamp(stage)) {
                ensure!(error.kind() == ErrorKind::NotFound, error);
            }
        }
        for stage in &STAGES[first..] {
            (stage.build)(self)
                .with_context(|| format!("stage `{}` of the set-up failed", stage.name))?;
            let stamp = self.stamp(stage);
            let new = stamp.with_extension("new");
            fs::write(&new, manifest(self.root.dir(), stage.watched)?)?;
            fs::rename(new, stamp)?;
        }
        let unfinished = self.first_unfinished(true).map(|stage| STAGES[stage].name);
        ensure!(
            unfinished.is_none(),
            "the lab is not whole right after its set-up: {}",
            self.dir.display()
        );
        Ok(())
    }

    fn stamp(&self, stage: &Stage) -> PathBuf {
        self.dir.join(format!("{}.stamp", stage.name))
    }

    fn log(&self, stage: &str) -> PathBuf {
        self.dir.join(format!("{stage}.log"))
    }

    /// The kernel that was taken.
    fn kernel(&self) -> Result<Kernel> {
        let file = self.dir.join("kernel");
        Kernel::parse(&fs::read_to_string(&file)?)
            .with_context(|| format!("{} is damaged", file.display()))
    }

    /// Debian, with what the lab needs of it.
    fn debian(&self) -> Result<()> {
        let installation = Installation {
            purpose: "for the lab",
            packages: recipe::PACKAGES.concat(),
            without: &["doc", "man", "locale"],
        };
        debian::install(&installation, self.root.dir(), &self.log("debian"))
    }

    /// The kernel's packages.
    fn packages(&self) -> Result<()> {
        let step = Step::new("looking for the newest kernel", None);
        let available = self.root.script(recipe::AVAILABLE, &[recipe::SUITE]);
        logged(&available, &self.log("available"), |_| {})?;
        let records = self.root.command(&[], ["apt-cache", "dumpavail"]).read()?;
        let kernel = kernel::newest(&records, recipe::SERIES)?;
        step.done();
        let step = Step::new(format!("installing Linux {}", kernel.version), Some(0));
        let mut argv: Vec<String> = ["apt-get", "install", "-y", "--no-install-recommends"]
            .map(Into::into)
            .into();
        argv.extend(kernel.packages());
        logged(&self.root.changing(argv), &self.log("kernel"), |line| {
            apt_progress(&step, line)
        })?;
        // Their packages are installed: what is left is 200 MB that nobody reads.
        self.root
            .changing(["apt-get", "clean"])
            .stdout_null()
            .run()?;
        fs::write(self.dir.join("kernel"), kernel.record())?;
        step.done();
        Ok(())
    }

    /// The kernel's source, configured.
    fn source(&self) -> Result<()> {
        let kernel = self.kernel()?;
        let step = Step::new(
            format!("unpacking the source of Linux {}", kernel.version),
            None,
        );
        let script = self.root.script(
            recipe::SOURCE,
            &[&kernel.release, &kernel.series(), recipe::CC],
        );
        logged(&script, &self.log("source"), |_| {})?;
        step.done();
        Ok(())
    }

    /// What a module's build needs of the kernel tree.
    fn prepare(&self) -> Result<()> {
        let kernel = self.kernel()?;
        // So many files a build made when this was written.
        let step = Step::new("building what modules need of the kernel tree", Some(204));
        let script = self.root.script(
            recipe::PREPARE,
            &[&kernel.release, kernel.localversion(), recipe::CC],
        );
        logged(&script, &self.log("prepare"), |line| {
            if line.starts_with("  ") {
                step.advance();
            }
        })?;
        step.done();
        Ok(())
    }

    /// The initramfs that mounts the tree, made when it or its script is new.
    fn initramfs(&self, kernel: &Kernel) -> Result<PathBuf> {
        const INIT: &str = include_str!("../guest/initramfs");
        const MAKE: &str = include_str!("../lab/initramfs.sh");
        let parts = format!(
            "{INIT} {MAKE} {:?} {}",
            recipe::BOOT_MODULES,
            kernel.version
        );
        let file = self
            .dir
            .join(format!("initramfs-{}", recipe::digest(parts.as_bytes())));
        if !file.exists() {
            // Two runs may make it at once: each its own, and the same.
            let new = tempfile::NamedTempFile::new_in(&self.dir)?;
            let mut argv = vec![
                "sh",
                "-c",
                MAKE,
                "initramfs",
                &kernel.release,
                "/dev/stdout",
            ];
            argv.extend(recipe::BOOT_MODULES);
            self.root
                .command(&[], argv)
                .stdin_bytes(INIT)
                .stdout_path(new.path())
                .run()
                .context("cannot make an initramfs")?;
            new.persist(&file)?;
        }
        Ok(file)
    }
}

/// The files under some directories of a tree, each with its size: `SIZE PATH`, one a line.
fn manifest(root: &Path, watched: &[&str]) -> Result<String> {
    let mut manifest = String::new();
    let mut left: Vec<PathBuf> = watched.iter().map(|dir| root.join(dir)).collect();
    while let Some(dir) = left.pop() {
        let entries = match fs::read_dir(&dir) {
            // Something private of a user that only the namespace knows.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            // Python's leftovers come and go.
            if kind.is_dir() && !path.ends_with("__pycache__") {
                left.push(path);
            } else if kind.is_file() {
                let name = path
                    .strip_prefix(root)?
                    .to_str()
                    .context("a file's name is not UTF-8")?;
                writeln!(manifest, "{} {name}", entry.metadata()?.len())?;
            }
        }
    }
    Ok(manifest)
}

/// What is not as the manifest says, if anything.
fn damage(root: &Path, manifest: &str) -> Option<String> {
    manifest.lines().find_map(|line| {
        let Some((size, name)) = line.split_once(' ') else {
            return Some("a stamp is damaged".into());
        };
        match std::fs::symlink_metadata(root.join(name)) {
            Ok(found) if found.len().to_string() == size => None,
            Ok(found) => Some(format!("{name} has {} bytes, not {size}", found.len())),
            Err(error) => Some(format!("{name}: {error}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{damage, manifest};

    #[test]
    fn a_changed_tree_is_noticed() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("a/b");
        std::fs::create_dir(tree.path().join("a")).unwrap();
        std::fs::write(&file, "four").unwrap();
        let list = manifest(tree.path(), &["a"]).unwrap();
        assert_eq!(list, "4 a/b\n");
        assert_eq!(damage(tree.path(), &list), None);
        std::fs::write(&file, "longer").unwrap();
        assert_eq!(
            damage(tree.path(), &list).unwrap(),
            "a/b has 6 bytes, not 4"
        );
        std::fs::remove_file(&file).unwrap();
        assert!(damage(tree.path(), &list).unwrap().starts_with("a/b: "));
    }
}
