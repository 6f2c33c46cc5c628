// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the lab is made of. Any change here makes another tree, beside the old one.

use sha2::{Digest, Sha256};

use crate::arch::Arch;

/// The Debian release.
pub(crate) const SUITE: &str = "trixie";

/// What builds a kernel's modules.
pub(crate) const BUILD: &[&[&str]] = &[
    // The kernel's Rust: the release's own rustc is the one that Debian builds its kernel with.
    &[
        "rustc",
        "rust-src",
        "rust-clippy",
        "bindgen",
        "libclang-19-dev",
        "clang-19",
        "lld-19",
        "llvm-19",
    ],
    // The kernel's C. Without pahole its configuration changes.
    &[
        "gcc",
        "make",
        "flex",
        "bison",
        "bc",
        "libelf-dev",
        "libssl-dev",
        "pahole",
        "kmod",
        "xz-utils",
        "zstd",
    ],
];

/// Certificates, for mirrors behind https.
const CERTIFICATES: &[&str] = &["ca-certificates"];

/// The guest's first steps: the initramfs, and mounts.
const FIRST_STEPS: &[&str] = &["busybox-static", "cpio", "mount", "iproute2"];

/// The guest's programs.
const PROGRAMS: &[&[&str]] = &[
    // Programs that people use on a device, for the tests.
    &[
        "python3",
        "python3-numpy",
        "xxd",
        "socat",
        "fio",
        "stress-ng",
        "memtester",
        "memtool",
        "trinity",
        "ioping",
        "e2fsprogs",
        "libc6-dev",
    ],
    // RDMA, for the tests that register memory with it.
    &["libibverbs-dev"],
    // Programs that watch others.
    &["gdb", "strace", "procps", "psmisc"],
];

/// The packages of a tree in which modules are built and machines run, and why each is there. What these depend on comes
/// along; what they recommend does not. On the machine's own architecture the guest's programs are in the same tree.
pub(crate) fn packages(arch: &Arch) -> Vec<&'static [&'static str]> {
    let mut packages = vec![CERTIFICATES, BUILD[0], BUILD[1], FIRST_STEPS, arch.emulator];
    if arch.is_foreign() {
        packages.push(arch.cross);
        // The guest's programs have it elsewhere.
        packages.push(&["python3"]);
    } else {
        packages.extend(PROGRAMS);
    }
    packages
}

/// The packages of a tree that has nothing but a foreign guest's programs, which are unpacked without running any: apt
/// takes `?essential` for what each Debian has.
pub(crate) fn guest_packages() -> Vec<&'static [&'static str]> {
    // What the kernel is built with, its tests are, too.
    const BASE: &[&str] = &["?essential", "gcc", "make", "binutils", "kmod", "xz-utils"];
    // What makes and removes the group of the packages that are tried there.
    const GROUPS: &[&str] = &["systemd-standalone-sysusers", "passwd"];
    let mut packages = vec![BASE, GROUPS, CERTIFICATES, FIRST_STEPS];
    packages.extend(PROGRAMS);
    packages
}

/// Does by hand what the packages' own scripts would do in a tree that was only unpacked.
pub(crate) const GUEST: &str = include_str!("../lab/guest.sh");

/// What tells make to take the compilers that the sanitizer kernel needs: KASAN and Rust go together with clang only.
pub(crate) const LLVM: &str = "LLVM=-19";

/// The modules of the initramfs: what mounts the root.
pub(crate) const BOOT_MODULES: &[&str] = &["9pnet_virtio", "9p", "overlay"];

/// Lists, unpacks, builds: the scripts that run in the tree.
pub(crate) const AVAILABLE: &str = include_str!("../lab/available.sh");
/// See [`AVAILABLE`].
pub(crate) const FOREIGN_PACKAGES: &str = include_str!("../lab/foreign-packages.sh");
/// See [`AVAILABLE`].
pub(crate) const SOURCE: &str = include_str!("../lab/source.sh");
/// See [`AVAILABLE`].
pub(crate) const PREPARE: &str = include_str!("../lab/prepare.sh");
/// See [`AVAILABLE`].
pub(crate) const DEBUG: &str = include_str!("../lab/debug.sh");
/// The configuration of the sanitizer kernel.
pub(crate) const DEBUG_CONFIG: &str = include_str!("../lab/debug.config");

/// To be raised when code of `setup.rs` or `kernel.rs` changes what comes out.
const REVISION: u32 = 3;

/// What the tree's directory is called: the same for the same recipe.
pub(crate) fn key(arch: &Arch) -> String {
    let packages = packages(arch);
    digest(format!("{REVISION} {SUITE} {} {packages:?}", arch.cc).as_bytes())
}

/// A short digest of `bytes`, for names.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
