// SPDX-License-Identifier: MIT OR Apache-2.0

//! The packages for Debian, made by Debian's own tools in a tree of their own.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use fs_err as fs;

use super::build;
use crate::kernels;
use crate::progress::{logged, Step};
use crate::root::Bind;
use crate::setup::Lab;
use crate::stage::{self, Stage};
use crate::tree::{Recipe, Tree};
use crate::workspace;

/// Debian's tools.
pub(super) const TOOLS: Recipe<'_> = Recipe {
    purpose: "where packages are made",
    packages: &[
        "debhelper",
        "dh-sequence-dkms",
        "dh-sequence-installsysusers",
        "dpkg-dev",
        "lintian",
        "mandoc",
    ],
    kernel: None,
};

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

/// Makes the packages from what was built.
pub(super) fn make(lab: &Lab, chrmem: &Path, module: &Path) -> Result<Debs> {
    let tools = Tree::get(&TOOLS)?;
    let step = Step::new("packing for Debian", None);
    let work = tempfile::tempdir_in(super::folder()?)?;
    let time = build::time()?;
    lay_out(lab, chrmem, module, &time, work.path())?;
    pack(&tools, &time, work.path())?;
    let mut files = Vec::new();
    let version = version()?;
    for name in names(lab) {
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
    lay_out(lab, chrmem, module, &time, again.path())?;
    pack(&tools, &time, again.path())?;
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

/// The packages' names.
fn names(lab: &Lab) -> [String; 3] {
    [
        "chrmem".into(),
        format!("chrmem-modules-{}", lab.kernel.packaged()),
        "chrmem-dkms".into(),
    ]
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
fn lay_out(lab: &Lab, chrmem: &Path, module: &Path, time: &str, work: &Path) -> Result<()> {
    let source = Stage::empty(work.join("source"))?;
    let release = lab.kernel.packaged();
    let version = version()?;
    let user_space = Stage::empty(source.dir().join("built/chrmem"))?;
    stage::user_space(&user_space, chrmem, "/usr")?;
    source.write(
        &format!("built/modules/lib/modules/{release}/updates/chrmem.ko"),
        fs::read(module)?,
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
fn pack(tools: &Tree, time: &str, work: &Path) -> Result<()> {
    let binds = [Bind::writable(work, DEBS)];
    let argv = [
        "env",
        "-C",
        SOURCE,
        &format!("SOURCE_DATE_EPOCH={time}"),
        "dpkg-buildpackage",
        "--build=binary",
        "--no-sign",
        "--no-check-builddeps",
    ];
    let log = super::folder()?.join("debs.log");
    logged(&tools.root.command(&binds, argv), &log, |_| {}).context("the packages do not build")
}
