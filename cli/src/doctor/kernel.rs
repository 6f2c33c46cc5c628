// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the kernel can have the module at all.

use super::{Finding, Machine};

/// The series of kernels that the driver is for: the driver's own list, one a line.
const KERNELS: &str = include_str!("kernels");

/// See [`KERNELS`].
fn series() -> impl Iterator<Item = &'static str> {
    KERNELS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Whether the driver has been tried on the processor.
pub(super) fn processor(machine: &Machine) -> Finding {
    const ABOUT: &str = "processor";
    const TRIED: [&str; 2] = ["x86_64", "aarch64"];
    if TRIED.contains(&machine.processor.as_str()) {
        return Finding::ok(ABOUT, machine.processor.clone());
    }
    Finding::wrong(
        ABOUT,
        format!(
            "{}: the driver has been tried on {} only",
            machine.processor,
            TRIED.join(" and ")
        ),
        "use an x86_64 or aarch64 machine, or a virtual one",
    )
}

/// Whether the driver is for the kernel's version.
pub(super) fn version(machine: &Machine) -> Finding {
    const ABOUT: &str = "kernel";
    let release = &machine.release;
    let mine = series().any(|series| {
        release
            .strip_prefix(series)
            .is_some_and(|rest| !rest.starts_with(|it: char| it.is_ascii_digit()))
    });
    if mine {
        return Finding::ok(ABOUT, format!("Linux {release}"));
    }
    let known = series().collect::<Vec<_>>().join(" and ");
    let what = format!("Linux {release}: the driver is for {known}");
    if machine.is_loaded() {
        return Finding::note(ABOUT, what);
    }
    Finding::wrong(
        ABOUT,
        what,
        "boot one of these; Debian has them in trixie-backports",
    )
}

/// Whether the kernel has Rust.
pub(super) fn rust(machine: &Machine) -> Finding {
    const ABOUT: &str = "Rust in it";
    if machine.is_loaded() {
        return Finding::ok(ABOUT, "the module is loaded, so there is");
    }
    match machine.option("CONFIG_RUST").as_deref() {
        Some("y") => Finding::ok(ABOUT, "CONFIG_RUST=y"),
        Some(_) => Finding::wrong(
            ABOUT,
            "the kernel was built without CONFIG_RUST",
            "boot a kernel that has it: those of Debian's trixie-backports, Ubuntu and Arch do",
        ),
        None => Finding::note(
            ABOUT,
            "the kernel's configuration is not in /boot; `zgrep CONFIG_RUST= /proc/config.gz` may tell",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::made_up;
    use super::super::State;
    use super::*;

    #[test]
    fn the_version_counts_unless_the_module_is_loaded() {
        for (release, state) in [
            ("7.2.12+deb13-amd64", State::Ok),
            ("7.2-rc1", State::Ok),
            ("7.3.4+deb13-amd64", State::Ok),
            ("7.20.1", State::Wrong),
            ("6.12.0-amd64", State::Wrong),
        ] {
            let (mut machine, _files) = made_up(&[]);
            machine.release = release.to_owned();
            assert_eq!(version(&machine).state, state, "{release}");
        }
        let (mut machine, _files) = made_up(&[("sys/module/chrmem/version", "")]);
        machine.release = "7.99.1".to_owned();
        assert_eq!(version(&machine).state, State::Note);
    }

    #[test]
    fn other_processors_are_said() {
        let (mut machine, _files) = made_up(&[]);
        assert_eq!(processor(&machine).state, State::Ok);
        machine.processor = "aarch64".to_owned();
        assert_eq!(processor(&machine).state, State::Ok);
        machine.processor = "riscv64".to_owned();
        assert_eq!(processor(&machine).state, State::Wrong);
    }

    #[test]
    fn a_kernel_without_rust_is_said() {
        let config = "boot/config-7.2.12-amd64";
        let (machine, _files) = made_up(&[(config, "CONFIG_RUST=y\n")]);
        assert_eq!(rust(&machine).state, State::Ok);
        let (machine, _files) = made_up(&[(config, "# CONFIG_RUST is not set\n")]);
        assert_eq!(rust(&machine).state, State::Wrong);
        let (machine, _files) = made_up(&[]);
        assert_eq!(rust(&machine).state, State::Note);
    }
}
