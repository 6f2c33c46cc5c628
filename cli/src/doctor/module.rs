// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the module is loaded or could be, and configfs with it.

use super::{Finding, Machine};

/// What the firmware says about Secure Boot.
const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Whether the module is loaded.
pub(super) fn module(machine: &Machine) -> Finding {
    const ABOUT: &str = "module";
    if machine.is_loaded() {
        return Finding::ok(ABOUT, "loaded");
    }
    if machine.is_installed() {
        return Finding::wrong(ABOUT, "installed, but not loaded", "sudo modprobe chrmem");
    }
    Finding::wrong(
        ABOUT,
        "neither loaded nor installed for this kernel",
        format!(
            "Debian: sudo apt install ./chrmem-modules-{0}_*.deb; elsewhere chrmem-dkms; or \
             `cargo xtask install` in a checkout of chrmem",
            machine.release
        ),
    )
}

/// Whether the kernel takes unsigned modules.
pub(super) fn lockdown(machine: &Machine) -> Finding {
    const ABOUT: &str = "Secure Boot";
    // Four bytes of attributes, then one that is 1 if it is on.
    let secure = std::fs::read(machine.path(SECURE_BOOT)).is_ok_and(|it| it.get(4) == Some(&1));
    let boot = if secure { "on" } else { "off" };
    // As in `none [integrity] confidentiality`.
    let modes = machine.text("/sys/kernel/security/lockdown");
    let mode = modes.as_deref().and_then(|modes| {
        let (_, rest) = modes.split_once('[')?;
        Some(rest.split_once(']')?.0)
    });
    match mode {
        None | Some("none") => Finding::ok(
            ABOUT,
            format!("{boot}; the kernel is not locked down, as far as can be seen"),
        ),
        Some(mode) if machine.is_loaded() => Finding::ok(
            ABOUT,
            format!("{boot}, lockdown is {mode}; the module is loaded"),
        ),
        Some(mode) => Finding::wrong(
            ABOUT,
            format!("{boot}, lockdown is {mode}: the kernel takes signed modules only"),
            format!(
                "sign chrmem.ko with a key of yours (the kernel's scripts/sign-file) and enrol that \
                 (mokutil --import), or {}",
                if secure {
                    "turn Secure Boot off"
                } else {
                    "start the kernel without `lockdown=`"
                }
            ),
        ),
    }
}

/// Whether devices can be created at run time.
pub(super) fn configfs(machine: &Machine) -> Finding {
    const ABOUT: &str = "configfs";
    if machine.has("/sys/kernel/config/chrmem") {
        return Finding::ok(ABOUT, "mounted, and has chrmem");
    }
    let mounts = machine.text("/proc/mounts").unwrap_or_default();
    let is_mounted = crate::configfs::is_mounted(&mounts);
    match (is_mounted, machine.is_loaded()) {
        (false, _) => Finding::wrong(
            ABOUT,
            "not mounted: `chrmem create` needs it, and the module",
            "sudo modprobe configfs; sudo mount -t configfs none /sys/kernel/config",
        ),
        (true, true) => Finding::wrong(
            ABOUT,
            "mounted, but without chrmem",
            "mount it again: sudo umount /sys/kernel/config; \
             sudo mount -t configfs none /sys/kernel/config",
        ),
        (true, false) => Finding::ok(ABOUT, "mounted; chrmem is in it when the module is loaded"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::made_up;
    use super::super::State;
    use super::*;

    const LOADED: (&str, &str) = ("sys/module/chrmem/version", "");

    #[test]
    fn a_module_is_loaded_installed_or_missing() {
        let (machine, _files) = made_up(&[LOADED]);
        assert_eq!(module(&machine).state, State::Ok);
        let installed = (
            "lib/modules/7.2.12-amd64/modules.dep",
            "updates/chrmem.ko:\n",
        );
        let (machine, _files) = made_up(&[installed]);
        assert_eq!(
            module(&machine).cure.as_deref(),
            Some("sudo modprobe chrmem")
        );
        let (machine, _files) = made_up(&[]);
        assert!(module(&machine)
            .cure
            .is_some_and(|it| it.contains("chrmem-modules-7.2.12-amd64")));
    }

    #[test]
    fn a_kernel_that_is_locked_down_takes_signed_modules() {
        let path = "sys/kernel/security/lockdown";
        let on = (&SECURE_BOOT[1..], "\x06\0\0\0\x01");
        let (machine, _files) = made_up(&[(path, "[none] integrity confidentiality\n")]);
        assert_eq!(lockdown(&machine).state, State::Ok);
        let locked = (path, "none [integrity] confidentiality\n");
        let (machine, _files) = made_up(&[locked, on]);
        let finding = lockdown(&machine);
        assert_eq!(finding.state, State::Wrong);
        assert!(
            finding.what.starts_with("on, lockdown is integrity"),
            "{finding:?}"
        );
        assert!(finding
            .cure
            .is_some_and(|it| it.contains("mokutil") && it.ends_with("Secure Boot off")));
        let (machine, _files) = made_up(&[locked]);
        assert!(lockdown(&machine)
            .cure
            .is_some_and(|it| it.contains("`lockdown=`") && !it.contains("Secure Boot")));
        let (machine, _files) = made_up(&[locked, on, LOADED]);
        assert_eq!(lockdown(&machine).state, State::Ok);
        let (machine, _files) = made_up(&[]);
        assert_eq!(lockdown(&machine).state, State::Ok);
    }

    #[test]
    fn configfs_is_mounted_with_the_module_s_folder_in_it() {
        let mounted = ("proc/mounts", "none /sys/kernel/config configfs rw 0 0\n");
        let folder = ("sys/kernel/config/chrmem/camera/live", "1");
        for (files, state) in [
            (&[mounted, folder, LOADED][..], State::Ok),
            (&[mounted], State::Ok),
            (&[mounted, LOADED], State::Wrong),
            (&[LOADED], State::Wrong),
            (&[], State::Wrong),
        ] {
            let (machine, _files) = made_up(files);
            assert_eq!(configfs(&machine).state, state, "{files:?}");
        }
    }
}
