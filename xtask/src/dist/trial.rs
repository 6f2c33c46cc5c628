// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tries the packages: each alone in a clean Debian, DKMS in the lab's, and all together in the VM. Those for another
//! architecture are tried in its VM only.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use fs_err as fs;

use super::debs::Debs;
use super::reader::{self, Reader};
use crate::arch::Arch;
use crate::job::Job;
use crate::progress::{logged, Step};
use crate::root::Bind;
use crate::setup::Lab;
use crate::tree::{Recipe, Tree};
use crate::vm::Args;
use crate::workspace;

/// What a user's machine has, beside its kernel.
const USER: &[&str] = &[
    "ca-certificates",
    "systemd",
    "udev",
    "kmod",
    "passwd",
    "procps",
    "iproute2",
    "gcc",
    "libc6-dev",
    "linux-libc-dev",
    "python3",
    "python3-numpy",
    "python3-yaml",
    "rustc",
    "cargo",
    "sudo",
    "podman",
    "crun",
];

/// The trees see these.
const DEBS: &str = "/run/chrmem/debs";
const TESTS: &str = "/run/chrmem/tests";
const OUTPUT: &str = "/run/chrmem/output";
/// And this, where the guest does.
const SHARE: &str = "/share";

/// Tries all of it.
pub(super) fn run(lab: &Lab, chrmem: &Path, debs: &Debs) -> Result<()> {
    let tests = workspace::dir().join("dist/tests");
    lint(debs)?;
    let user = Tree::get(&Recipe {
        purpose: "that packages are tried on",
        arch: Arch::native(),
        packages: USER,
        kernel: Some(&lab.kernel),
    })?;
    let folder = super::folder()?;
    let share = tempfile::tempdir_in(&folder)?;
    // In the guest, others than root use it as well.
    rustix::fs::chmod(share.path(), 0o755.into())?;
    let binds = [
        Bind::read_only(&folder, DEBS),
        Bind::read_only(&tests, TESTS),
        Bind::writable(share.path(), OUTPUT),
    ];
    for deb in &debs.files {
        let (name, file) = name_and_file(deb)?;
        let file = format!("{DEBS}/{file}");
        // DKMS brings compilers along, which nobody needs twice: the lab has them.
        if name == "chrmem-dkms" {
            let release = lab.kernel.packaged();
            let output = format!("{OUTPUT}/dkms.ko");
            let (script, tree) = (format!("{TESTS}/dkms.sh"), lab.kernel.build());
            let argv = ["sh", &script, release, &file, &output, &tree];
            attempt(&name, &lab.root.trying(&binds, argv))?;
        } else {
            let argv = ["sh", &format!("{TESTS}/package.sh"), &name, &file];
            attempt(&name, &user.root.trying(&binds, argv))?;
        }
        give(deb, share.path())?;
    }
    kubernetes(&user)?;
    own(lab, chrmem, share.path())?;
    for script in [
        "tests/clean.sh",
        "tests/home.sh",
        "tests/crates.sh",
        "tests/user.sh",
        "tests/reader.sh",
        "tests/typist.sh",
        "tests/containers.sh",
        "tests/own.sh",
        "install/install.sh",
        "install/uninstall.sh",
    ] {
        give(&workspace::dir().join("dist").join(script), share.path())?;
    }
    machine(lab, &user, debs, share.path())
}

/// Tries packages for another architecture: in its VM, which has a Debian of unpacked packages.
pub(super) fn emulated(lab: &Lab, debs: &Debs) -> Result<()> {
    lint(debs)?;
    let share = tempfile::tempdir_in(super::folder()?)?;
    let tests = workspace::dir().join("dist/tests");
    let scripts = ["clean.sh", "emulated.sh"].map(|name| tests.join(name));
    for file in scripts.iter().chain(&debs.files) {
        give(file, share.path())?;
    }
    let args = Args {
        arch: lab.arch,
        share: Some(share.path().to_owned()),
        no_load: true,
        ..Args::default()
    };
    let mut job = Job::new(&args, lab, &[])?;
    job.command(["sh", "-c", "exec sh /share/emulated.sh 2>&1"])?;
    in_machine(job)
}

/// Puts a file where the guest sees it.
fn give(file: &Path, share: &Path) -> Result<()> {
    let name = file.file_name().context("a file without a name")?;
    fs::copy(file, share.join(name))?;
    Ok(())
}

/// A package's name, and that of its file.
fn name_and_file(deb: &Path) -> Result<(String, String)> {
    let file = deb.file_name().and_then(|name| name.to_str());
    let file = file.context("a file without a name")?;
    let (name, _) = file.split_once('_').context("not a package's file")?;
    Ok((name.to_owned(), file.to_owned()))
}

/// Runs a command whose output matters when it fails.
fn attempt(what: &str, command: &duct::Expression) -> Result<()> {
    let step = Step::new(format!("trying {what}"), None);
    let log = super::folder()?.join(format!("{what}.log"));
    logged(command, &log, |_| {}).with_context(|| format!("{what} failed its trial"))?;
    step.done();
    Ok(())
}

/// What Debian's own judge says.
fn lint(debs: &Debs) -> Result<()> {
    let folder = super::folder()?;
    let binds = [Bind::read_only(&folder, DEBS)];
    let mut argv: Vec<String> = [
        "lintian",
        "--allow-root",
        "--fail-on",
        "error,warning",
        "--info",
    ]
    .map(Into::into)
    .into();
    for deb in &debs.files {
        argv.push(format!("{DEBS}/{}", name_and_file(deb)?.1));
    }
    attempt("lintian", &debs.tools.root.command(&binds, argv))?;
    let man = workspace::dir().join("dist/man");
    let binds = [Bind::read_only(&man, TESTS)];
    let page = format!("{TESTS}/chrmem.4");
    let argv = ["mandoc", "-T", "lint", "-W", "warning", &page];
    attempt("mandoc", &debs.tools.root.command(&binds, argv))
}

/// What can be told of the manifest for Kubernetes without a cluster.
fn kubernetes(user: &Tree) -> Result<()> {
    let dist = workspace::dir().join("dist");
    let binds = [Bind::read_only(&dist, TESTS)];
    let script = format!("{TESTS}/tests/kubernetes.py");
    let manifest = format!("{TESTS}/kubernetes/generic-device-plugin.yaml");
    let argv = ["python3", &script, &manifest];
    attempt("kubernetes", &user.root.command(&binds, argv))
}

/// What `cargo xtask kernel prepare` and `install` make, on a machine with the kernel's packages.
fn own(lab: &Lab, chrmem: &Path, output: &Path) -> Result<()> {
    const CHECKOUT: &str = "/run/chrmem/checkout";
    const XTASK: &str = "/run/chrmem/xtask";
    const CHRMEM: &str = "/run/chrmem/chrmem";
    let checkout = workspace::dir();
    let xtask = std::env::current_exe()?;
    let binds = [
        Bind::read_only(&checkout, CHECKOUT),
        Bind::read_only(&xtask, XTASK),
        Bind::read_only(chrmem, CHRMEM),
        Bind::writable(output, OUTPUT),
    ];
    let script = format!("{CHECKOUT}/dist/tests/own-build.sh");
    let release = lab.kernel.packaged();
    let argv = ["sh", &script, XTASK, CHECKOUT, release, CHRMEM, OUTPUT];
    attempt("kernel-prepare", &lab.root.trying(&binds, argv))
}

/// All of it in the VM, as on a user's machine.
fn machine(lab: &Lab, user: &Tree, debs: &Debs, share: &Path) -> Result<()> {
    let reader = Reader::prepare(share.join("reader"))?;
    reader::checkout(&share.join("checkout.tar"), &debs.files)?;
    reader::crates(&share.join("crates"))?;
    let binds = [Bind::writable(share, SHARE)];
    let argv = ["sh", &format!("{SHARE}/crates.sh")];
    attempt("crates-of-reader", &user.root.trying(&binds, argv))?;
    let args = Args {
        share: Some(share.to_owned()),
        no_load: true,
        mem: Some("2G".into()),
        timeout: 2400,
        ..Args::default()
    };
    let mut job = Job::new(&args, lab, &[])?;
    job.root(&user.root);
    job.command([
        "sh",
        "-euc",
        "exec 2>&1; sh /share/user.sh; sh /share/own.sh",
    ])?;
    in_machine(job)?;
    reader.compare()
}

/// Runs what tries packages in the VM.
fn in_machine(job: Job<'_>) -> Result<()> {
    let step = Step::new("trying all packages in the VM", None);
    let log = super::folder()?.join("user.log");
    let outcome = job.run(fs::File::create(&log)?.into_parts().0)?;
    outcome.verdict()?;
    ensure!(
        outcome.status == 0,
        "the user's machine: status {}\n{}",
        outcome.status,
        crate::progress::tail(&log)
    );
    step.done();
    Ok(())
}
