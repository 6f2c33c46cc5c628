// SPDX-License-Identifier: MIT OR Apache-2.0

//! A kernel that is locked down (`kernel_lockdown(7)`), from which there is no way back in one boot: this is the last file.

use crate::folder::Folder;
use crate::pci::Pci;
use rustix::io::Errno;
use std::fs;
use std::process::Command;

crate::tests! {
    a_locked_down_kernel_gives_no_window_on_hardware
}

/// Locks the kernel down, as its command line does with `lockdown=integrity`.
fn lock_down() {
    let mount = Command::new("mount")
        .args(["-t", "securityfs", "none", "/sys/kernel/security"])
        .status();
    assert!(mount.expect("mount runs").success());
    let file = "/sys/kernel/security/lockdown";
    fs::write(file, "integrity").expect(file);
    let state = fs::read_to_string(file).expect(file);
    assert!(state.contains("[integrity]"), "{state}");
    let umount = Command::new("umount").arg("/sys/kernel/security").status();
    assert!(umount.expect("umount runs").success());
}

fn a_locked_down_kernel_gives_no_window_on_hardware() {
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    let physical = format!("memory=physical address={bar:#x} size=1page");
    let edu = Pci::find(0x1234, 0x11e8);
    let dma = format!("memory=dma device={} size=1page", edu.address());
    let refused = [&physical, &dma];
    let build = |settings: &str| drop(Folder::live("test", &[("one", settings)]));
    for settings in refused {
        build(settings);
    }
    lock_down();
    for settings in refused {
        let folder = Folder::new("test");
        folder.window("one", settings);
        let words = ["window one", "locked down", "kernel_lockdown(7)"];
        folder.cannot_be_built(Errno::PERM, &words);
    }
    // What reaches no hardware is as before.
    for settings in [
        "size=4M",
        "size=16pages memory=contiguous",
        "size=16pages memory=dma",
    ] {
        build(settings);
    }
}
