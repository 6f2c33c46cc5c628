// SPDX-License-Identifier: MIT OR Apache-2.0

//! The architectures that the lab can emulate, and everything that differs between them.

use anyhow::{Context, Result};

/// An architecture.
#[derive(Debug)]
pub(crate) struct Arch {
    /// Debian's name for it, which is also the name on the command line.
    pub(crate) name: &'static str,
    /// The value of [`std::env::consts::ARCH`].
    pub(crate) processor: &'static str,
    /// The kernel's name for it: `ARCH` of its makefiles, which is also a directory in `arch/`.
    pub(crate) kernel: &'static str,
    /// The directory in `arch/`.
    pub(crate) source: &'static str,
    /// GNU's name for it, with which the names of compilers begin, and the directory of its libraries.
    pub(crate) gnu: &'static str,
    /// Rust's target.
    pub(crate) target: &'static str,
    /// The C compiler that Debian builds its kernel with; the headers package depends on it.
    pub(crate) cc: &'static str,
    /// The packages that build modules for it on another architecture. The configuration tells whether a C library is there.
    pub(crate) cross: &'static [&'static str],
    /// The packages that pack for it on another architecture: tools, and the libraries that the command is linked with.
    pub(crate) packing: &'static [&'static str],
    /// What make needs on another architecture to give a kernel tree Debian's own configuration. The 32-bit vDSO is part
    /// of that.
    pub(crate) environment: &'static [&'static str],
    /// The packages of the emulator.
    pub(crate) emulator: &'static [&'static str],
    /// Kernels with other pages, by the ends of their names.
    pub(crate) flavours: &'static [&'static str],
    /// The machine.
    pub(crate) machine: Machine,
}

/// The machine, as QEMU and the kernel call its parts.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The emulator.
    pub(crate) program: &'static str,
    /// The board.
    pub(crate) board: &'static str,
    /// The devices that are there before all others.
    pub(crate) devices: &'static [&'static str],
    /// The graphics cards, none of which has a screen.
    pub(crate) graphics: &'static [&'static str],
    /// The processor, on KVM.
    pub(crate) native: &'static str,
    /// The processor, emulated.
    pub(crate) emulated: &'static str,
    /// The processor, emulated where instructions are counted.
    pub(crate) counted: &'static str,
    /// The console.
    pub(crate) console: &'static str,
    /// More for the kernel's command line.
    pub(crate) append: &'static str,
    /// The same where instructions are counted.
    pub(crate) append_counted: &'static str,
    /// The same for the kernel with sanitizers.
    pub(crate) append_debug: &'static str,
    /// Whether firmware turns the PCI devices on. Where there is none, the guest does.
    pub(crate) has_firmware: bool,
}

static AMD64: Arch = Arch {
    name: "amd64",
    processor: "x86_64",
    kernel: "x86_64",
    source: "x86",
    gnu: "x86_64-linux-gnu",
    target: "x86_64-unknown-linux-gnu",
    cc: "x86_64-linux-gnu-gcc-14",
    cross: &[
        "gcc-14-x86-64-linux-gnu",
        "gcc-x86-64-linux-gnu",
        "libc6-dev-amd64-cross",
    ],
    packing: &[
        "binutils-x86-64-linux-gnu",
        "libc6:amd64",
        "libgcc-s1:amd64",
    ],
    environment: &[],
    // The QXL device is a module of its own.
    emulator: &["qemu-system-x86", "qemu-system-modules-spice"],
    flavours: &[],
    machine: Machine {
        program: "qemu-system-x86_64",
        board: "q35",
        devices: &["intel-iommu,intremap=off"],
        graphics: &["bochs-display", "qxl", "virtio-gpu-pci"],
        native: "max",
        emulated: "max",
        // `rep movsb` counts once a byte: without it, copying costs what it costs on real processors.
        counted: "max,-erms,-fsrm,-fsrs",
        console: "ttyS0",
        // Where the host is busy, interrupts of an emulated timer come late, which the kernel would take for a broken board.
        // The IOMMU translates for no device but where a test asks for it. The firmware says that the top of the addresses is
        // reserved, where it has put the host bridge's largest window: a large BAR that was unplugged would find no room there.
        append: "no_timer_check iommu=pt pci=no_e820",
        // A tick for each instruction. The kernel measures it against another clock, and is far off now and then.
        append_counted: "tsc_early_khz=1000000",
        // The first block of memory begins before the zone that it is in, which the kernel's own checks take for a mistake
        // when `alloc_contig_pages` comes by. That, and what more a stock kernel keeps apart for old devices, stays unused.
        append_debug: "memmap=15M$1M",
        has_firmware: true,
    },
};

static ARM64: Arch = Arch {
    name: "arm64",
    processor: "aarch64",
    kernel: "arm64",
    source: "arm64",
    gnu: "aarch64-linux-gnu",
    target: "aarch64-unknown-linux-gnu",
    cc: "aarch64-linux-gnu-gcc-14",
    cross: &[
        "gcc-14-aarch64-linux-gnu",
        "gcc-aarch64-linux-gnu",
        "libc6-dev-arm64-cross",
    ],
    packing: &[
        "binutils-aarch64-linux-gnu",
        "libc6:arm64",
        "libgcc-s1:arm64",
    ],
    environment: &[
        // There is no such compiler: its name alone keeps the vDSO for 32-bit programs, which clang compiles.
        "CROSS_COMPILE_COMPAT=arm-linux-gnueabihf-",
        "CC_COMPAT=clang-19 --target=arm-linux-gnueabi",
        "LD_COMPAT=ld.lld-19",
    ],
    emulator: &["qemu-system-arm"],
    flavours: &["16k"],
    machine: Machine {
        program: "qemu-system-aarch64",
        board: "virt,gic-version=max,iommu=smmuv3",
        devices: &[],
        graphics: &["bochs-display", "virtio-gpu-pci"],
        native: "max",
        // The architecture's own algorithm for signing pointers takes emulation longer than all else.
        emulated: "max,pauth-impdef=on",
        // A real processor: `max` has instructions that copy any number of bytes and count once.
        counted: "neoverse-n1",
        console: "ttyAMA0",
        append: "iommu.passthrough=1",
        append_counted: "",
        append_debug: "",
        has_firmware: false,
    },
};

/// All of them.
static ALL: [&Arch; 2] = [&AMD64, &ARM64];

impl Arch {
    /// The architecture of this program and this machine.
    pub(crate) fn native() -> &'static Self {
        let native = ALL
            .into_iter()
            .find(|arch| arch.processor == std::env::consts::ARCH);
        // On any other, the lab's own set-up fails, which says so.
        native.unwrap_or(&AMD64)
    }

    /// The architecture with Debian's name.
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        let found = ALL.into_iter().find(|arch| arch.name == name);
        found.with_context(|| {
            let names: Vec<_> = ALL.iter().map(|arch| arch.name).collect();
            format!("the architectures are: {}", names.join(", "))
        })
    }

    /// Whether this machine's programs are of another architecture.
    pub(crate) fn is_foreign(&self) -> bool {
        self.name != Self::native().name
    }

    /// The architectures of a Debian tree on this machine that has packages of this one as well; none where it has its own only,
    /// which need not be named.
    pub(crate) fn beside_native(&self) -> Vec<&'static str> {
        match self.is_foreign() {
            true => vec![Self::native().name, self.name],
            false => Vec::new(),
        }
    }

    /// The variables for make that select the architecture, where it is another than this machine's.
    pub(crate) fn variables(&self) -> Vec<String> {
        if !self.is_foreign() {
            return Vec::new();
        }
        vec![
            format!("ARCH={}", self.kernel),
            format!("CROSS_COMPILE={}-", self.gnu),
        ]
    }
}

/// The name of the architecture to use if none is given.
pub(crate) fn default() -> &'static str {
    Arch::native().name
}

#[cfg(test)]
mod tests {
    use super::Arch;

    #[test]
    fn each_has_a_name() {
        assert_eq!(Arch::named("arm64").unwrap().kernel, "arm64");
        assert!(!Arch::native().is_foreign());
        assert_eq!(Arch::native().variables(), [""; 0]);
        let error = Arch::named("riscv64").unwrap_err().to_string();
        assert_eq!(error, "the architectures are: amd64, arm64");
    }

    #[test]
    fn make_is_told_of_a_foreign_one() {
        for name in ["amd64", "arm64"] {
            let arch = Arch::named(name).unwrap();
            let variables = arch.variables();
            assert_eq!(arch.is_foreign(), !variables.is_empty());
            if arch.is_foreign() {
                assert_eq!(variables[0], format!("ARCH={}", arch.kernel));
            }
        }
    }
}
