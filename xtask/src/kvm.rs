// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether hardware virtualisation works here, which only a boot can tell: `/dev/kvm` may be there and hang for ever.

use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::cache;
use crate::progress::Step;
use crate::root::Bind;
use crate::setup::Lab;

/// How long a guest may take that powers off at once.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether to use it. The answer of a probe is kept until the machine is booted again.
pub(crate) fn works(lab: &Lab) -> Result<bool> {
    // Only on x86 does the processor say so.
    let able = lab.arch.source != "x86"
        || fs::read_to_string("/proc/cpuinfo")?
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm");
    if !able
        || lab.arch.is_foreign()
        || std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
    {
        return Ok(false);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let kept = cache::dir()?.join("kvm");
    let known = fs::read_to_string(&kept).unwrap_or_default();
    if let Some(answer) = known.strip_prefix(&boot) {
        return Ok(answer == "works");
    }
    let works = probe(lab)?;
    fs::write(
        kept,
        format!("{boot}{}", if works { "works" } else { "does not work" }),
    )?;
    Ok(works)
}

/// Boots a guest that powers off at once.
fn probe(lab: &Lab) -> Result<bool> {
    let step = Step::new("trying KVM", None);
    let dir = tempfile::Builder::new().prefix("chrmem-").tempdir()?;
    fs::copy(&lab.initramfs, dir.path().join("initramfs"))?;
    let machine = &lab.arch.machine;
    let append = format!("console={} panic=-1 chrmem_probe=1", machine.console);
    let argv = [
        machine.program,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-m",
        "512M",
        "-machine",
        machine.board,
        "-accel",
        "kvm",
        "-cpu",
        machine.native,
        "-kernel",
        &lab.kernel.image(),
        "-initrd",
        "/run/chrmem/dir/initramfs",
        "-append",
        &append,
        "-serial",
        "file:/run/chrmem/dir/console",
    ];
    let binds = [Bind::writable(dir.path(), "/run/chrmem/dir")];
    let qemu = lab
        .root
        .command(&binds, argv)
        .unchecked()
        .stdin_null()
        .stdout_null()
        .stderr_null()
        .start()?;
    if qemu.wait_timeout(LIMIT)?.is_none() {
        qemu.kill().context("cannot stop the probe")?;
    }
    step.done();
    // A guest that crashes ends QEMU just as well: only the kernel's last words tell.
    Ok(fs::read(dir.path().join("console"))
        .is_ok_and(|log| String::from_utf8_lossy(&log).contains("reboot: Power down")))
}
