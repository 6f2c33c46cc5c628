// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the devices can be used.

use super::{Finding, Machine};
use chrmem::{Device, Errno};
use rustix::fs::{major, minor, stat, FileType};
use std::fs;

/// What is found about each device that has something wrong, or one finding if none has.
pub(super) fn devices(machine: &Machine) -> Vec<Finding> {
    const ABOUT: &str = "devices";
    if !machine.is_loaded() {
        return vec![Finding::note(ABOUT, "none without the module")];
    }
    let class = fs::read_dir(machine.path("/sys/class/chrmem"));
    let mut names: Vec<_> = class
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if names.is_empty() {
        return vec![Finding::note(
            ABOUT,
            "there are none: `chrmem create NAME WINDOW:SIZE` makes one",
        )];
    }
    let wrong: Vec<_> = names
        .iter()
        .filter_map(|name| trouble(machine, name))
        .map(|(what, cure)| Finding::wrong(ABOUT, what, cure))
        .collect();
    if wrong.is_empty() {
        let count = names.len();
        let s = if count == 1 { "" } else { "s" };
        return vec![Finding::ok(
            ABOUT,
            format!("{count} device{s}, open to you"),
        )];
    }
    wrong
}

/// What is wrong with a device, and its cure.
fn trouble(machine: &Machine, name: &str) -> Option<(String, String)> {
    let node = format!("/dev/{name}");
    let number = machine.text(format!("/sys/class/chrmem/{name}/dev"))?;
    let number = number.trim();
    let make = || {
        let (major, minor) = number.split_once(':').unwrap_or((number, "0"));
        format!("sudo rm -f {node}; sudo mknod -m 600 {node} c {major} {minor}")
    };
    let Ok(about) = stat(machine.path(&node)) else {
        return Some((format!("there is no node {node}"), make()));
    };
    let found = format!("{}:{}", major(about.st_rdev), minor(about.st_rdev));
    let is_device = FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice;
    if !is_device || found != number {
        return Some((format!("{node} is not the node of device {number}"), make()));
    }
    let error = Device::open(machine.path(&node)).err()?;
    let cure = match error.errno() {
        Some(Errno::ACCESS | Errno::PERM) => match group(machine) {
            Some(group) => format!(
                "sudo chgrp {group} {node}; sudo chmod 660 {node}; sudo usermod -aG {group} $USER; \
                 then log in again. Or run it with sudo"
            ),
            None => format!("run it with sudo, or: sudo chown $USER {node}"),
        },
        _ => "look at `sudo dmesg | grep chrmem`".to_owned(),
    };
    let reason = error.errno().map(|it| std::io::Error::from(it).kind());
    let reason = reason.map_or_else(String::new, |it| format!(": {it}"));
    Some((format!("{error}{reason}"), cure))
}

/// The group that devices are given to, if the machine has it.
fn group(machine: &Machine) -> Option<&'static str> {
    const GROUP: &str = "chrmem";
    let groups = machine.text("/etc/group")?;
    let mut names = groups.lines().filter_map(|line| line.split(':').next());
    names.any(|name| name == GROUP).then_some(GROUP)
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::made_up;
    use super::super::State;
    use super::*;

    const LOADED: (&str, &str) = ("sys/module/chrmem/version", "");
    const NUMBER: (&str, &str) = ("sys/class/chrmem/chrmem0/dev", "243:0\n");

    #[test]
    fn a_node_that_is_missing_or_something_else_is_said() {
        for (files, what) in [
            (&[LOADED, NUMBER][..], "there is no node /dev/chrmem0"),
            (
                &[LOADED, NUMBER, ("dev/chrmem0", "a file")],
                "/dev/chrmem0 is not the node of device 243:0",
            ),
        ] {
            let (machine, _files) = made_up(files);
            let findings = devices(&machine);
            assert_eq!(findings.len(), 1);
            assert_eq!(
                (findings[0].state, findings[0].what.as_str()),
                (State::Wrong, what)
            );
            let cure = findings[0].cure.as_deref().expect("a cure");
            assert!(
                cure.ends_with("mknod -m 600 /dev/chrmem0 c 243 0"),
                "{cure}"
            );
        }
    }

    #[test]
    fn no_devices_are_nothing_wrong() {
        for files in [&[][..], &[LOADED]] {
            let (machine, _files) = made_up(files);
            assert_eq!(devices(&machine)[0].state, State::Note);
        }
    }

    #[test]
    fn the_group_is_found() {
        let (machine, _files) = made_up(&[("etc/group", "root:x:0:\nchrmem:x:990:me\n")]);
        assert_eq!(group(&machine), Some("chrmem"));
        let (machine, _files) = made_up(&[("etc/group", "root:x:0:\nchrmem2:x:990:\n")]);
        assert_eq!(group(&machine), None);
    }
}
