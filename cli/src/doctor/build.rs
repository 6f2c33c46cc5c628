// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the module could be built for the running kernel.

use super::{Finding, Machine};

/// Whether the kernel's headers are there, with what Rust modules need.
pub(super) fn headers(machine: &Machine) -> Finding {
    const ABOUT: &str = "building it";
    let (what, cure) = match lacking(machine) {
        None => return Finding::ok(ABOUT, "headers, Rust metadata and compiler are there"),
        Some(lack) => lack,
    };
    // Nobody has to build what is there.
    if machine.is_loaded() || machine.is_installed() {
        return Finding::note(ABOUT, format!("not needed, and not possible here: {what}"));
    }
    Finding::wrong(ABOUT, what, cure)
}

/// What is lacking to build the module, and how to get it.
fn lacking(machine: &Machine) -> Option<(String, String)> {
    let release = &machine.release;
    let tree = machine.kernel_file("build");
    if !machine.has(tree.join("Makefile")) {
        return Some((
            format!("no headers in {}", tree.display()),
            format!("sudo apt install linux-headers-{release}, or what your distribution calls it"),
        ));
    }
    if !machine.has(tree.join("rust/libkernel.rmeta")) {
        return Some((
            format!(
                "the headers lack Rust metadata: {}/rust/libkernel.rmeta",
                tree.display()
            ),
            format!(
                "Ubuntu: sudo apt install linux-lib-rust-{release}; Debian leaves it out: install \
                 the package chrmem-modules-{release}, or have `cargo xtask kernel prepare` make it \
                 in a checkout of chrmem"
            ),
        ));
    }
    let Some(found) = &machine.compiler else {
        return Some((
            "there is no rustc".to_owned(),
            "install the rustc that the kernel was built with".to_owned(),
        ));
    };
    match machine.option("CONFIG_RUSTC_VERSION_TEXT") {
        Some(wanted) if !wanted.is_empty() && wanted != *found => Some((
            format!("the kernel was built with {wanted}, and this is {found}"),
            "install that rustc, and say make RUSTC=…: metadata of another one is of no use"
                .to_owned(),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::made_up;
    use super::super::State;
    use super::*;

    const MAKEFILE: (&str, &str) = ("lib/modules/7.2.12-amd64/build/Makefile", "");
    const METADATA: (&str, &str) = ("lib/modules/7.2.12-amd64/build/rust/libkernel.rmeta", "");
    const CONFIG: &str = "lib/modules/7.2.12-amd64/build/.config";

    #[test]
    fn what_lacks_is_said_with_its_cure() {
        let same = "CONFIG_RUSTC_VERSION_TEXT=\"rustc 1.85.1 (4eb161250 2025-03-15)\"";
        let other = "CONFIG_RUSTC_VERSION_TEXT=\"rustc 1.93.0 (254b59607 2026-01-19)\"";
        for (files, cure) in [
            (&[][..], Some("linux-headers-7.2.12-amd64")),
            (&[MAKEFILE], Some("linux-lib-rust-7.2.12-amd64")),
            (
                &[MAKEFILE, METADATA, (CONFIG, other)],
                Some("install that rustc"),
            ),
            (&[MAKEFILE, METADATA, (CONFIG, same)], None),
            (&[MAKEFILE, METADATA], None),
        ] {
            let (machine, _files) = made_up(files);
            let finding = headers(&machine);
            match cure {
                None => assert_eq!(finding.state, State::Ok, "{files:?}"),
                Some(cure) => {
                    assert_eq!(finding.state, State::Wrong, "{files:?}");
                    assert!(
                        finding.cure.is_some_and(|it| it.contains(cure)),
                        "{files:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_compiler_is_needed() {
        let (mut machine, _files) = made_up(&[MAKEFILE, METADATA]);
        machine.compiler = None;
        assert_eq!(headers(&machine).what, "there is no rustc");
    }

    #[test]
    fn nobody_has_to_build_what_is_loaded() {
        let (machine, _files) = made_up(&[("sys/module/chrmem/version", "")]);
        assert_eq!(headers(&machine).state, State::Note);
    }
}
