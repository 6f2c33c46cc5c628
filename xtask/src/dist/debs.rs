// SPDX-License-Identifier: MIT OR Apache-2.0

//! The packages for Debian, made by Debian's own tools in a tree of their own.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use fs_err as fs;

use super::build;
use crate::arch::Arch;
use crate::kernels;
use crate::progress::{logged, Step};
use crate::root::Bind;
use crate::setup::Lab;
use crate::stage::{self, Stage};
use crate::tree::{Recipe, Tree};
use crate::workspace;

/// Debian's tools.
const TOOLS: &[&str] = &[
    "debhelper",
    "dh-sequence-dkms",
    "dh-sequence-installsysusers",
    "dpkg-dev",
    "lintian",
    "mandoc",
];

/// The tree where they are made sees these.
const SOURCE: &str = "/run/chrmem/debs/source";
const DEBS: &str = "/run/chrmem/debs";

/// The packages.
pub(super) struct Debs {
    /// Their files: command, module, source.
    pub(super) files: Vec<PathBuf>,
    /// The tree with the tools.
    pub(super) tools: Tree,
}

/// What was built, to be packed.
pub(super) struct Built<'a> {
    /// The lab in which the module was built.
    pub(super) lab: &'a Lab,
    /// The command for its architecture.
    pub(super) chrmem: &'a Path,
    /// The same for this machine.
    pub(super) here: &'a Path,
    /// The module.
    pub(super) module: &'a Path,
}

/// Makes the packages from what was built.
pub(super) fn make(built: &Built<'_>) -> Result<Debs> {
    let arch = built.lab.arch;
    let packing = match arch.is_foreign() {
        true => arch.packing,
        false => &[],
    };
    let tools = Tree::get(&Recipe {
        purpose: "where packages are made",
        arch,
        packages: &[TOOLS, packing].concat(),
        kernel: None,
    })?;
    let step = Step::new("packing for Debian", None);
    let work = tempfile::tempdir_in(super::folder()?)?;
    let time = build::time()?;
    lay_out(built, &time, work.path())?;
    pack(&tools, arch, &time, work.path())?;
    let mut files = Vec::new();
    let version = version()?;
    for name in names(built.lab) {
        let file = fs::read_dir(work.path())?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .and_then(|file| file.to_str())
                    .is_some_and(|file| {
                        file.starts_with(&format!("{name}_{version}_")) && file.ends_with(".deb")
                    })
            })
            .with_context(|| format!("no package {name} was made"))?;
        let kept = super::folder()?.join(file.file_name().context("a file without a name")?);
        fs::copy(&file, &kept)?;
        files.push(kept);
    }
    step.done();
    // The same again must be the same.
    let again = tempfile::tempdir_in(super::folder()?)?;
    lay_out(built, &time, again.path())?;
    pack(&tools, arch, &time, again.path())?;
    for file in &files {
        let second = again.path().join(file.file_name().unwrap_or_default());
        ensure!(
            fs::read(file)? == fs::read(second)?,
            "{} comes out differently each time",
            file.display()
        );
    }
    Ok(Debs { files, tools })
}

/// The packages' names. What is the same for all architectures is made on their own machines.
fn names(lab: &Lab) -> Vec<String> {
    let mut names = vec![
        "chrmem".into(),
        format!("chrmem-modules-{}", lab.kernel.packaged()),
    ];
    if !lab.arch.is_foreign() {
        names.push("chrmem-dkms".into());
    }
    names
}

/// The version of all of them.
pub(super) fn version() -> Result<String> {
    let metadata = workspace::metadata(false)?;
    let package = metadata
        .packages
        .iter()
        .find(|it| it.name.as_str() == "chrmem");
    Ok(package.context("no crate chrmem")?.version.to_string())
}

/// Lays out a source package in `work`, with what was built in it.
fn lay_out(built: &Built<'_>, time: &str, work: &Path) -> Result<()> {
    let lab = built.lab;
    let source = Stage::empty(work.join("source"))?;
    let release = lab.kernel.packaged();
    let version = version()?;
    let user_space = Stage::empty(source.dir().join("built/chrmem"))?;
    stage::user_space(&user_space, built.chrmem, built.here, "/usr")?;
    source.write(
        &format!("built/modules/lib/modules/{release}/updates/chrmem.ko"),
        fs::read(built.module)?,
    )?;
    dkms(&source)?;
    let texts = workspace::dir().join("LICENSES");
    let indented = |name: &str| -> Result<String> {
        let text = fs::read_to_string(texts.join(name))?;
        Ok(text
            .trim()
            .lines()
            .map(|line| match line.trim() {
                "" => " .".to_owned(),
                line => format!(" {line}"),
            })
            .collect::<Vec<_>>()
            .join("\n"))
    };
    let fields = [
        ("@RELEASE@", release.to_owned()),
        ("@KERNEL@", lab.kernel.version.clone()),
        ("@VERSION@", version.clone()),
        ("@MIT@", indented("MIT.txt")?),
        ("@NOTE@", indented("Linux-syscall-note.txt")?),
    ];
    for entry in fs::read_dir(workspace::dir().join("dist/debian"))? {
        let entry = entry?;
        let mut text = fs::read_to_string(entry.path())?;
        for (field, value) in &fields {
            text = text.replace(field, value);
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = match name.strip_prefix("modules.") {
            Some(part) => format!("chrmem-modules-{release}.{part}"),
            None => name,
        };
        source.write(&format!("debian/{name}"), text)?;
    }
    rustix::fs::chmod(source.dir().join("debian/rules"), 0o755.into())?;
    for example in ["c/tour.c", "python/samples.py"] {
        source.copy(
            &format!("examples/{example}"),
            &format!("examples/{example}"),
        )?;
    }
    source.copy("CHANGELOG.md", "built/doc/CHANGELOG.md")?;
    let date = duct::cmd!("date", "-u", "-R", "-d", format!("@{time}")).read()?;
    source.write(
        "debian/changelog",
        format!(
            "chrmem ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {}  {date}\n",
            maintainer()?
        ),
    )
}

/// Who maintains the packages, as `debian/control` says.
fn maintainer() -> Result<String> {
    let control = fs::read_to_string(workspace::dir().join("dist/debian/control"))?;
    let line = control
        .lines()
        .find_map(|line| line.strip_prefix("Maintainer: "));
    Ok(line
        .context("debian/control names no maintainer")?
        .to_owned())
}

/// The driver's source, as DKMS builds it.
fn dkms(source: &Stage) -> Result<()> {
    for file in workspace::files()? {
        if file.starts_with("driver/") || file == "uapi/src/abi.rs" {
            source.copy(&file, &format!("built/dkms/{file}"))?;
        }
    }
    source.copy("dist/dkms/Kbuild", "built/dkms/Kbuild")?;
    let kernels: Vec<_> = kernels::supported()
        .map(|it| it.replace('.', r"\."))
        .collect();
    let text = fs::read_to_string(workspace::dir().join("dist/dkms/dkms.conf"))?;
    source.write(
        "debian/chrmem-dkms.dkms",
        text.replace("@KERNELS@", &kernels.join("|")),
    )
}

/// Makes the packages of the source package in `work`.
fn pack(tools: &Tree, arch: &Arch, time: &str, work: &Path) -> Result<()> {
    let binds = [Bind::writable(work, DEBS)];
    let argv = [
        "env",
        "-C",
        SOURCE,
        &format!("SOURCE_DATE_EPOCH={time}"),
        "dpkg-buildpackage",
        match arch.is_foreign() {
            true => "--build=any",
            false => "--build=binary",
        },
        &format!("--host-arch={}", arch.name),
        "--no-sign",
        "--no-check-builddeps",
    ];
    let log = super::folder()?.join("debs.log");
    logged(&tools.root.command(&binds, argv), &log, |_| {}).context("the packages do not build")
}
