// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes the lab's tree, stage by stage.
//!
//! A finished stage leaves a stamp that lists its files with their sizes. Each use looks whether they are still so: what
//! is missing or different is made again, and an interrupted set-up goes on with the stage it was in.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use duct::Expression;
use fs_err as fs;

use crate::arch::Arch;
use crate::cache::{self, Lock};
use crate::debian::{self, apt_progress, Installation};
use crate::kernel::{self, Kernel};
use crate::progress::{logged, Step};
use crate::root::{Bind, Root};
use crate::{host, kernels, recipe};

/// The finished lab. Nobody changes it while this value lives.
pub(crate) struct Lab {
    /// The architecture of the machine.
    pub(crate) arch: &'static Arch,
    /// The tree.
    pub(crate) root: Root,
    /// The tree with the guest's programs: the same, except on another architecture.
    pub(crate) guest: Root,
    /// The kernel in it.
    pub(crate) kernel: Kernel,
    /// The initramfs that boots it.
    pub(crate) initramfs: PathBuf,
    _locks: (Lock, Option<Lock>),
}

/// The lab with this machine's own architecture, and the kernel called `name`.
pub(crate) fn native(name: &str) -> Result<Lab> {
    lab(Arch::native(), name)
}

/// The lab with the kernel called `name`, made or repaired where necessary.
pub(crate) fn lab(arch: &'static Arch, name: &str) -> Result<Lab> {
    let home = cache::roots()?.join(recipe::key(arch));
    let lock_file = home.with_extension("lock");
    let busy = "setting up the lab";
    let mut lock = Lock::shared(&lock_file, busy)?;
    let home = Home {
        arch,
        root: Root::new(home.join("root")),
        dir: home,
    };
    let used = loop {
        let used = home.used(name)?;
        let Some(stage) = home.first_unfinished(name, false)? else {
            break used;
        };
        drop(used);
        if stage.is_of_all() {
            drop(lock);
            {
                let _alone = Lock::exclusive(&lock_file, "using or setting up the lab")?;
                home.set_up(name, true)?;
            }
            lock = Lock::shared(&lock_file, busy)?;
        } else {
            // To build a kernel does not touch the others.
            let _alone = Lock::exclusive(&home.dir.with_extension("kernels.lock"), busy)?;
            home.set_up(name, false)?;
        }
    };
    let kernel = home.kernel(name)?;
    let initramfs = home.initramfs(&kernel)?;
    Ok(Lab {
        arch,
        guest: home.guest(),
        root: home.root,
        kernel,
        initramfs,
        _locks: (lock, used),
    })
}

/// The folders of `/usr/share` that the lab's trees do without.
const WITHOUT: &[&str] = &["doc", "man", "locale"];

/// One stage of the set-up: those of the tree, then those of a kernel in it.
enum Stage {
    /// Debian.
    Debian,
    /// The programs of a guest of another architecture.
    Guest(&'static Arch),
    /// The list of kernels that there are.
    Available,
    /// A kernel's packages.
    Packages(Kernel),
    /// Its source.
    Source(Kernel),
    /// What modules for it need.
    Prepare(Kernel),
    /// The same source, built with sanitizers.
    Debug(Kernel),
}

impl Stage {
    /// For logs and stamps: another for what is made in another way.
    fn name(&self) -> String {
        let keyed = |what: &str, kernel: &Kernel, recipe: &[&str]| {
            let key = recipe::digest(recipe.concat().as_bytes());
            let label = match what {
                "source" => kernel.version.clone(),
                _ => kernel.label(),
            };
            format!("{what}-{label}-{key}")
        };
        match self {
            Self::Debian => "debian".into(),
            Self::Guest(_) => {
                let recipe = format!("{:?}{}", recipe::guest_packages(), recipe::GUEST);
                format!("guest-{}", recipe::digest(recipe.as_bytes()))
            }
            Self::Available => {
                let series: Vec<_> = kernels::supported().collect();
                let recipe = format!("{series:?}{}", recipe::AVAILABLE);
                format!("available-{}", recipe::digest(recipe.as_bytes()))
            }
            Self::Packages(kernel) if kernel.arch.is_foreign() => {
                keyed("packages", kernel, &[recipe::FOREIGN_PACKAGES])
            }
            Self::Packages(kernel) => format!("packages-{}", kernel.label()),
            Self::Source(kernel) => keyed("source", kernel, &[recipe::SOURCE]),
            Self::Prepare(kernel) => keyed("prepare", kernel, kernel.recipe()),
            Self::Debug(kernel) => keyed("debug", kernel, kernel.recipe()),
        }
    }

    /// Whether it makes what others may be using.
    fn is_of_all(&self) -> bool {
        matches!(self, Self::Debian | Self::Guest(_))
    }

    /// The kernels of which it removes what was built before.
    fn replaces(&self) -> Vec<Kernel> {
        match self {
            Self::Debian | Self::Guest(_) | Self::Available | Self::Packages(_) => Vec::new(),
            Self::Source(kernel) => kernel.of_this_source(),
            Self::Prepare(kernel) | Self::Debug(kernel) => vec![kernel.clone()],
        }
    }

    /// The directories of its tree that its stamp lists.
    fn watched(&self) -> Vec<String> {
        let under = |dir: String, names: &[&str]| {
            let dir = dir.trim_start_matches('/').to_owned();
            names.iter().map(|name| format!("{dir}/{name}")).collect()
        };
        let built = |kernel: &Kernel| {
            let headers = format!("arch/{}/include", kernel.arch.source);
            under(kernel.build(), &["rust", "scripts", "include", &headers])
        };
        let system = |arch: &Arch| {
            let libraries = format!("lib/{}", arch.gnu);
            under("usr".into(), &["bin", &libraries, "include"])
        };
        match self {
            Self::Debian => system(Arch::native()),
            Self::Guest(arch) => system(arch),
            Self::Available => Vec::new(),
            Self::Packages(kernel) => under(
                "usr".into(),
                &[
                    &format!("lib/modules/{}", kernel.packaged()),
                    &format!("src/linux-headers-{}", kernel.packaged()),
                ],
            ),
            Self::Source(kernel) => under(kernel.source(), &["rust", "include/linux"]),
            Self::Prepare(kernel) => built(kernel),
            Self::Debug(kernel) => {
                let mut watched = built(kernel);
                watched.push(format!("usr/lib/modules/{}", kernel.release()));
                watched
            }
        }
    }

    /// Whether this is where to begin again when files of `damaged` are not as they were: packages and sources are not
    /// repaired one by one.
    fn repairs(&self, damaged: &Self) -> bool {
        match damaged {
            Self::Debian | Self::Available | Self::Packages(_) => matches!(self, Self::Debian),
            Self::Guest(_) => matches!(self, Self::Guest(_)),
            Self::Source(_) | Self::Prepare(_) | Self::Debug(_) => matches!(self, Self::Source(_)),
        }
    }
}

/// The directory of one recipe.
struct Home {
    arch: &'static Arch,
    dir: PathBuf,
    root: Root,
}

impl Home {
    /// The stages for the kernel called `name`, as far as can be told before the first of them.
    fn stages(&self, name: &str) -> Result<Vec<Stage>> {
        let mut stages = vec![Stage::Debian];
        if self.arch.is_foreign() {
            stages.push(Stage::Guest(self.arch));
        }
        stages.push(Stage::Available);
        if self.stamp(&Stage::Available).exists() {
            let kernel = self.kernel(name)?;
            stages.push(Stage::Packages(kernel.clone()));
            stages.push(Stage::Source(kernel.clone()));
            stages.push(match kernel.debug {
                true => Stage::Debug(kernel),
                false => Stage::Prepare(kernel),
            });
        }
        Ok(stages)
    }

    /// The first stage to be built, if any; `report` says why.
    fn first_unfinished(&self, name: &str, report: bool) -> Result<Option<Stage>> {
        let mut stages = self.stages(name)?;
        let unfinished = stages.iter().enumerate().find_map(|(index, stage)| {
            let Ok(stamp) = fs::read_to_string(self.stamp(stage)) else {
                return Some(index);
            };
            let damage = damage(self.tree(stage).dir(), &stamp)?;
            if report {
                eprintln!("lab: {damage}; making it again");
            }
            stages.iter().position(|other| other.repairs(stage))
        });
        Ok(unfinished.map(|index| stages.swap_remove(index)))
    }

    /// Builds what is unfinished of what others may be using, or of what they are not.
    fn set_up(&self, name: &str, of_all: bool) -> Result<()> {
        host::ready()?;
        while let Some(stage) = self.first_unfinished(name, true)? {
            if stage.is_of_all() != of_all {
                break;
            }
            let unused = |kernel| Lock::exclusive(&self.lock(kernel), "using this kernel");
            let replaced = stage.replaces();
            let _unused: Vec<_> = replaced.iter().map(unused).collect::<Result<_>>()?;
            self.remove_stamps(&stage)?;
            self.build(&stage)
                .with_context(|| format!("stage `{}` of the set-up failed", stage.name()))?;
            let stamp = self.stamp(&stage);
            let new = stamp.with_extension("new");
            let tree = self.tree(&stage);
            let files = manifest(tree.dir(), &stage.watched())?;
            fs::write(&new, &files)?;
            fs::rename(new, stamp)?;
            let damage = damage(tree.dir(), &files);
            ensure!(
                damage.is_none(),
                "{} changes while the lab is set up: {}",
                self.dir.display(),
                damage.unwrap_or_default()
            );
        }
        Ok(())
    }

    /// Removes what says that a stage is finished, and what rests on it.
    fn remove_stamps(&self, stage: &Stage) -> Result<()> {
        match stage {
            Stage::Debian => {
                fs::create_dir_all(&self.dir)?;
                for entry in fs::read_dir(&self.dir)? {
                    let path = entry?.path();
                    if path.extension().is_some_and(|kind| kind == "stamp") {
                        fs::remove_file(path)?;
                    }
                }
            }
            Stage::Source(kernel) => {
                let rests = [Stage::Prepare(kernel.clone()), Stage::Debug(kernel.clone())];
                for stage in rests.iter().chain([stage]) {
                    if let Err(error) = fs::remove_file(self.stamp(stage)) {
                        ensure!(error.kind() == ErrorKind::NotFound, error);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn build(&self, stage: &Stage) -> Result<()> {
        let log = self.log(&stage.name());
        match stage {
            Stage::Debian => self.debian(&log),
            Stage::Guest(arch) => self.programs(arch, &log),
            Stage::Available => self.available(&log),
            Stage::Packages(kernel) => self.packages(kernel, &log),
            Stage::Source(kernel) => self.source(kernel, &log),
            Stage::Prepare(kernel) => self.prepare(kernel, &log),
            Stage::Debug(kernel) => self.debug(kernel, &log),
        }
    }

    /// Says that the kernel called `name` is used, once it is known which that is.
    fn used(&self, name: &str) -> Result<Option<Lock>> {
        if !self.stamp(&Stage::Available).exists() {
            return Ok(None);
        }
        let lock = self.lock(&self.kernel(name)?);
        Lock::shared(&lock, "building this kernel").map(Some)
    }

    /// The file that is locked by those who use a kernel, and by the one who builds it.
    fn lock(&self, kernel: &Kernel) -> PathBuf {
        let build = kernel.build();
        let name = build.rsplit('/').next().unwrap_or_default();
        self.dir.with_extension(format!("{name}.lock"))
    }

    fn stamp(&self, stage: &Stage) -> PathBuf {
        self.dir.join(format!("{}.stamp", stage.name()))
    }

    fn log(&self, stage: &str) -> PathBuf {
        self.dir.join(format!("{stage}.log"))
    }

    /// Where it is recorded which kernels there are.
    fn kernels(&self) -> PathBuf {
        self.dir.join("kernels")
    }

    /// The kernel called `name`.
    fn kernel(&self, name: &str) -> Result<Kernel> {
        kernel::find(self.arch, &fs::read_to_string(self.kernels())?, name)
    }

    /// The tree with the guest's programs.
    fn guest(&self) -> Root {
        match self.arch.is_foreign() {
            true => Root::new(self.dir.join("guest")),
            false => self.root.clone(),
        }
    }

    /// The tree that a stage is about.
    fn tree(&self, stage: &Stage) -> Root {
        match stage {
            Stage::Guest(_) => self.guest(),
            _ => self.root.clone(),
        }
    }

    /// Debian, with what the lab needs of it.
    fn debian(&self, log: &Path) -> Result<()> {
        let installation = Installation {
            purpose: "for the lab",
            packages: recipe::packages(self.arch).concat(),
            without: WITHOUT,
            architectures: &self.arch.beside_native(),
            unpacked: None,
        };
        debian::install(&installation, self.root.dir(), log)
    }

    /// The programs of a guest of another architecture, of which none can run here.
    fn programs(&self, arch: &Arch, log: &Path) -> Result<()> {
        let installation = Installation {
            purpose: &format!("for the {} guest", arch.name),
            packages: recipe::guest_packages().concat(),
            without: WITHOUT,
            architectures: &[arch.name],
            unpacked: Some(recipe::GUEST),
        };
        debian::install(&installation, self.guest().dir(), log)
    }

    /// Which kernels there are.
    fn available(&self, log: &Path) -> Result<()> {
        let step = Step::new("looking for the newest kernels", None);
        let available = self.root.script(recipe::AVAILABLE, &[recipe::SUITE]);
        logged(&available, log, |_| {})?;
        let records = self.root.command(&[], ["apt-cache", "dumpavail"]).read()?;
        let kernels = kernel::available(self.arch, &records)?;
        let records: String = kernels.iter().map(Kernel::record).collect();
        fs::write(self.kernels(), records)?;
        step.done();
        Ok(())
    }

    /// A kernel's packages.
    fn packages(&self, kernel: &Kernel, log: &Path) -> Result<()> {
        let step = Step::new(format!("installing Linux {}", kernel.version), Some(0));
        let packages = kernel.packages();
        let install = if kernel.arch.is_foreign() {
            let source = kernel.source_package();
            let mut args = vec![
                kernel.arch.name,
                kernel.packaged(),
                &kernel.version,
                &source,
            ];
            args.extend(packages.iter().map(String::as_str));
            self.root.script(recipe::FOREIGN_PACKAGES, &args)
        } else {
            let install = ["apt-get", "install", "-y", "--no-install-recommends"];
            let mut argv: Vec<String> = install.map(Into::into).into();
            argv.extend(packages);
            argv.push(kernel.source_package());
            self.root.changing(argv)
        };
        let installed = logged(&install, log, |line| apt_progress(&step, line));
        if installed.is_err() {
            // The list may be so old that the mirror has other packages now.
            fs::remove_file(self.stamp(&Stage::Available))?;
        }
        installed?;
        // Their packages are installed: what is left is 200 MB that nobody reads.
        self.root
            .changing(["apt-get", "clean"])
            .stdout_null()
            .run()?;
        step.done();
        Ok(())
    }

    /// Its source.
    fn source(&self, kernel: &Kernel, log: &Path) -> Result<()> {
        let step = Step::new(
            format!("unpacking the source of Linux {}", kernel.version),
            None,
        );
        let script = self
            .root
            .script(recipe::SOURCE, &[&kernel.series(), &kernel.source()]);
        logged(&script, log, |_| {})?;
        step.done();
        Ok(())
    }

    /// What a module's build needs of the kernel tree.
    fn prepare(&self, kernel: &Kernel, log: &Path) -> Result<()> {
        let args = [
            kernel.packaged(),
            kernel.localversion(),
            &kernel.source(),
            &kernel.build(),
            kernel.arch.cc,
        ];
        let script = self.for_arch(recipe::PREPARE, &args);
        // So many files a build made when this was written.
        let step = Step::new(
            "building what modules need of the kernel tree".to_owned(),
            Some(204),
        );
        compile(&script, log, step)
    }

    /// The sanitizer kernel.
    fn debug(&self, kernel: &Kernel, log: &Path) -> Result<()> {
        let args = [
            &kernel.release(),
            &kernel.source(),
            &kernel.build(),
            recipe::LLVM,
        ];
        let script = self.for_arch(recipe::DEBUG, &args);
        // So many files a build made when this was written.
        let step = Step::new(format!("building {}", kernel.name()), Some(2851));
        compile(&script.stdin_bytes(recipe::DEBUG_CONFIG), log, step)
    }

    /// A shell script that builds a kernel of the lab's architecture.
    fn for_arch(&self, text: &str, args: &[&str]) -> Expression {
        let mut variables = self.arch.variables();
        if self.arch.is_foreign() {
            let more = self.arch.environment.iter();
            variables.extend(more.map(|variable| (*variable).to_owned()));
        }
        let script = ["sh", "-c", text, "script"];
        let words = script.iter().chain(args).map(|word| (*word).to_owned());
        let argv = ["env".to_owned()].into_iter().chain(variables).chain(words);
        self.root.changing(argv)
    }

    /// The initramfs that mounts the tree, made when it or its script is new.
    fn initramfs(&self, kernel: &Kernel) -> Result<PathBuf> {
        const INIT: &str = include_str!("../guest/initramfs");
        const MAKE: &str = include_str!("../lab/initramfs.sh");
        let parts = format!(
            "{INIT} {MAKE} {:?} {}",
            recipe::BOOT_MODULES,
            kernel.release()
        );
        let file = self
            .dir
            .join(format!("initramfs-{}", recipe::digest(parts.as_bytes())));
        if !file.exists() {
            // Two runs may make it at once: each its own, and the same.
            let new = tempfile::NamedTempFile::new_in(&self.dir)?;
            let release = kernel.release();
            let (busybox, guest) = ("/run/chrmem/busybox", self.guest());
            let mut argv = vec!["sh", "-c", MAKE, "initramfs", &release, busybox];
            argv.extend(recipe::BOOT_MODULES);
            let program = guest.dir().join("usr/bin/busybox");
            self.root
                .command(&[Bind::read_only(&program, busybox)], argv)
                .stdin_bytes(INIT)
                .stdout_path(new.path())
                .run()
                .context("cannot make an initramfs")?;
            new.persist(&file)?;
        }
        Ok(file)
    }
}

/// Runs a script that builds, of which each file is one step.
fn compile(script: &Expression, log: &Path, step: Step) -> Result<()> {
    logged(script, log, |line| {
        if line.starts_with("  ") {
            step.advance();
        }
    })?;
    step.done();
    Ok(())
}

/// The files under some directories of a tree, each with its size: `SIZE PATH`, one a line.
fn manifest(root: &Path, watched: &[String]) -> Result<String> {
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
        let list = manifest(tree.path(), &["a".into()]).unwrap();
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
