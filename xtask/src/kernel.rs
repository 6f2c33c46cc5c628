// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which kernels the lab has: of each series, the newest that the distribution has an image and a source of in the same
//! version, and one that is built from that source to find mistakes.

use std::collections::HashMap;

use anyhow::{bail, Context, Result};

use crate::arch::Arch;
use crate::{kernels, recipe};

/// The kernel that is asked for by this name is the newest of the distribution's.
pub(crate) const STOCK: &str = "stock";

/// The one that is asked for by this name is built with sanitizers, from the source of the stock kernel.
pub(crate) const DEBUG: &str = "debug";

/// The bytes of a page of the kernel that is asked for by this name, where they are not 4096.
pub(crate) fn page_size(name: &str) -> Option<usize> {
    (name == "16k").then_some(16384)
}

/// A kernel of the distribution's, or built from its source.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// Its architecture.
    pub(crate) arch: &'static Arch,
    /// What `uname -r` says of the distribution's kernel.
    packaged: String,
    /// The version of its packages.
    pub(crate) version: String,
    /// Whether it is built from the distribution's source, with sanitizers.
    pub(crate) debug: bool,
}

impl Kernel {
    /// The distribution's kernel of which `uname -r` says `release`, whose packages have this version.
    pub(crate) fn packaged_as(
        arch: &'static Arch,
        release: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        Self {
            arch,
            packaged: release.into(),
            version: version.into(),
            debug: false,
        }
    }

    /// Reads what [`Kernel::record`] wrote of a kernel of the distribution's.
    fn parse(arch: &'static Arch, record: &str) -> Option<Self> {
        let (release, version) = record.trim().split_once(' ')?;
        Some(Self::packaged_as(arch, release, version))
    }

    /// One line that names the distribution's kernel.
    pub(crate) fn record(&self) -> String {
        format!("{} {}\n", self.packaged, self.version)
    }

    /// What `uname -r` says.
    pub(crate) fn release(&self) -> String {
        match self.debug {
            true => format!("{}-{DEBUG}", self.upstream()),
            false => self.packaged.clone(),
        }
    }

    /// What `uname -r` says of the distribution's kernel, which its packages are called after.
    pub(crate) fn packaged(&self) -> &str {
        &self.packaged
    }

    /// The version of its packages, and which kind of them it is.
    pub(crate) fn label(&self) -> String {
        match self.flavour() {
            "" => self.version.clone(),
            flavour => format!("{}-{flavour}", self.version),
        }
    }

    /// What it is called in what the user reads.
    pub(crate) fn name(&self) -> String {
        match self.debug {
            true => format!("Linux {} with sanitizers", self.version),
            false => match self.flavour() {
                "" => format!("Linux {}", self.version),
                flavour => format!("Linux {} ({flavour})", self.version),
            },
        }
    }

    /// What the distribution calls it beside the architecture, if anything: `16k`.
    fn flavour(&self) -> &str {
        let marked = format!("-{}-", self.arch.name);
        self.packaged
            .split_once(&marked)
            .map_or("", |(_, flavour)| flavour)
    }

    /// The upstream version, such as 7.2.12.
    fn upstream(&self) -> &str {
        &self.packaged[..self.packaged.len() - self.localversion().len()]
    }

    /// The part of the release that its source goes by, such as 7.2.
    pub(crate) fn series(&self) -> String {
        kernels::series(&self.packaged).to_owned()
    }

    /// What the distribution appended to the upstream version.
    pub(crate) fn localversion(&self) -> &str {
        self.packaged
            .find(|c: char| c != '.' && !c.is_ascii_digit())
            .map_or("", |at| &self.packaged[at..])
    }

    /// The packages of the kernel's own architecture.
    pub(crate) fn packages(&self) -> Vec<String> {
        ["binary", "modules", "headers"]
            .iter()
            .map(|part| format!("linux-{part}-{}", self.packaged))
            .collect()
    }

    /// The package of the source, which is of no architecture.
    pub(crate) fn source_package(&self) -> String {
        format!("linux-source-{}={}", self.series(), self.version)
    }

    /// Where its source is in the tree.
    pub(crate) fn source(&self) -> String {
        format!("/usr/src/linux-{}", self.series())
    }

    /// Where in the tree it is built, as far as it is: the `KDIR` of modules for it.
    pub(crate) fn build(&self) -> String {
        let kind = match (self.debug, self.flavour()) {
            (true, _) => DEBUG,
            (false, "") => STOCK,
            (false, flavour) => flavour,
        };
        format!("{}-{kind}", self.source())
    }

    /// Where its image is in the tree.
    pub(crate) fn image(&self) -> String {
        match self.debug {
            true => format!("{}/vmlinux", self.build()),
            false => format!("/usr/lib/modules/{}/vmlinuz", self.packaged),
        }
    }

    /// The variables with which make takes the compilers that the kernel was built with.
    pub(crate) fn compilers(&self) -> Vec<String> {
        let mut variables = self.arch.variables();
        variables.push(match self.debug {
            true => recipe::LLVM.into(),
            false => format!("CC={}", self.arch.cc),
        });
        variables
    }

    /// How it is built, as far as it is.
    pub(crate) fn recipe(&self) -> &'static [&'static str] {
        match self.debug {
            true => &[recipe::DEBUG, recipe::DEBUG_CONFIG, recipe::LLVM],
            false => &[recipe::PREPARE],
        }
    }

    /// All kernels that are built from its source: the distribution's, and the one with sanitizers.
    pub(crate) fn of_this_source(&self) -> Vec<Self> {
        let end = self.packaged.len() - self.flavour().len();
        let plain = self.packaged[..end].trim_end_matches('-');
        let packaged = |release: &str| Self::packaged_as(self.arch, release, &self.version);
        let stock = packaged(plain);
        let mut all = vec![stock.clone(), stock.debug()];
        let flavours = self.arch.flavours.iter();
        all.extend(flavours.map(|flavour| packaged(&format!("{plain}-{flavour}"))));
        all
    }

    /// The same source, built with sanitizers.
    fn debug(self) -> Self {
        Self {
            debug: true,
            ..self
        }
    }
}

/// The newest kernels of the series that the driver is written for, the newest series first, from apt's records of what is available.
/// After them, those of the newest series that have other pages.
pub(crate) fn available(arch: &'static Arch, records: &str) -> Result<Vec<Kernel>> {
    let packages: HashMap<_, _> = records.split("\n\n").filter_map(package).collect();
    let newest = |series: &str, flavour: &str| {
        let end = match flavour {
            "" => format!("-{}", arch.name),
            flavour => format!("-{}-{flavour}", arch.name),
        };
        packages
            .iter()
            .filter_map(|(name, version)| {
                let release = name.strip_prefix("linux-binary-")?.strip_suffix(&end)?;
                // Flavours have a name of their own in between; `unsigned` images are not what a machine boots.
                let plain =
                    release.starts_with(|c: char| c.is_ascii_digit()) && !release.contains('-');
                let kernel = Kernel::packaged_as(arch, format!("{release}{end}"), *version);
                let source = packages.get(format!("linux-source-{series}").as_str())?;
                (plain && kernel.series() == series && source == version).then_some(kernel)
            })
            .max_by_key(|kernel| numbers(&kernel.version))
    };
    let mut kernels: Vec<_> = kernels::supported()
        .filter_map(|series| newest(series, ""))
        .collect();
    kernels.reverse();
    if let Some(series) = kernels.first().map(Kernel::series) {
        let flavours = arch.flavours.iter();
        kernels.extend(flavours.filter_map(|flavour| newest(&series, flavour)));
    } else {
        bail!(
            "the distribution offers no Linux {} that has an image and a source of the same version",
            kernels::supported().collect::<Vec<_>>().join(" or ")
        );
    }
    Ok(kernels)
}

/// The kernel that is asked for by `name`, of those that [`available`] found, as they were recorded.
pub(crate) fn find(arch: &'static Arch, records: &str, name: &str) -> Result<Kernel> {
    let parsed = records.lines().map(|record| Kernel::parse(arch, record));
    let kernels: Vec<_> = parsed.flatten().collect();
    let called = |kernel: &Kernel| match kernel.flavour() {
        "" => kernel.series(),
        flavour => flavour.to_owned(),
    };
    let first = kernels
        .first()
        .context("the record of what kernels there are is damaged")?;
    match name {
        STOCK => Ok(first.clone()),
        DEBUG => Ok(first.clone().debug()),
        _ => kernels
            .iter()
            .find(|kernel| called(kernel) == name)
            .cloned()
            .with_context(|| {
                let names: Vec<_> = kernels.iter().map(called).collect();
                format!(
                    "there is no kernel `{name}`; the kernels are: {STOCK}, {DEBUG}, {}",
                    names.join(", ")
                )
            }),
    }
}

/// Name and version in one of apt's records.
fn package(record: &str) -> Option<(&str, &str)> {
    let field = |name: &str| {
        record
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some((field("Package")?, field("Version")?))
}

/// The numbers of a version, which order it among others of its kind.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{available, find, numbers, Kernel};
    use crate::arch::Arch;

    const RECORDS: &str = "Package: linux-binary-7.2.9+deb13-amd64\nVersion: 7.2.9-1~bpo13+1\n\n\
         Package: linux-binary-7.2.12+deb13-amd64\nSource: linux\nVersion: 7.2.12-1~bpo13+1\n\n\
         Package: linux-binary-7.2.12+deb13-rt-amd64\nVersion: 7.2.12-1~bpo13+1\n\n\
         Package: linux-binary-unsigned-7.3.5+deb13-amd64\nVersion: 7.3.5-1~bpo13+1\n\n\
         Package: linux-binary-7.3.4+deb13-amd64\nVersion: 7.3.4-1~bpo13+1\n\n\
         Package: linux-binary-7.9.1+deb13-amd64\nVersion: 7.9.1-1~bpo13+1\n\n\
         Package: linux-source-7.9\nVersion: 7.9.1-1~bpo13+1\n\n\
         Package: linux-source-7.3\nVersion: 7.3.4-1~bpo13+1\n\n\
         Package: linux-source-7.2\nVersion: 7.2.12-1~bpo13+1\n";

    fn amd64() -> &'static Arch {
        Arch::named("amd64").unwrap()
    }

    fn recorded() -> String {
        let kernels = available(amd64(), RECORDS).unwrap();
        kernels.iter().map(Kernel::record).collect()
    }

    #[test]
    fn takes_the_newest_of_each_series_that_is_complete() {
        let kernel = find(amd64(), &recorded(), "7.2").unwrap();
        assert_eq!(kernel.release(), "7.2.12+deb13-amd64");
        assert_eq!(kernel.version, "7.2.12-1~bpo13+1");
        assert_eq!(kernel.series(), "7.2");
        assert_eq!(kernel.localversion(), "+deb13-amd64");
        assert_eq!(kernel.build(), "/usr/src/linux-7.2-stock");
    }

    #[test]
    fn stock_is_the_newest_that_the_driver_is_written_for() {
        let kernel = find(amd64(), &recorded(), "stock").unwrap();
        assert_eq!(kernel.release(), "7.3.4+deb13-amd64");
    }

    #[test]
    fn debug_is_built_from_the_source_of_stock() {
        let kernel = find(amd64(), &recorded(), "debug").unwrap();
        assert_eq!(kernel.release(), "7.3.4-debug");
        assert_eq!(kernel.packaged(), "7.3.4+deb13-amd64");
        assert_eq!(kernel.source(), "/usr/src/linux-7.3");
        assert_eq!(kernel.build(), "/usr/src/linux-7.3-debug");
        assert!(kernel.recipe().contains(&crate::recipe::DEBUG_CONFIG));
    }

    #[test]
    fn a_kernel_with_other_pages_is_called_after_them() {
        let arm64 = Arch::named("arm64").unwrap();
        let records =
            RECORDS.replace("-amd64", "-arm64") + &RECORDS.replace("-amd64", "-arm64-16k");
        let kernels = available(arm64, &records).unwrap();
        let records: String = kernels.iter().map(Kernel::record).collect();
        let stock = find(arm64, &records, "stock").unwrap();
        assert_eq!(stock.release(), "7.3.4+deb13-arm64");
        assert_eq!(stock.build(), "/usr/src/linux-7.3-stock");
        let other = find(arm64, &records, "16k").unwrap();
        assert_eq!(other.release(), "7.3.4+deb13-arm64-16k");
        assert_eq!(other.localversion(), "+deb13-arm64-16k");
        assert_eq!(other.build(), "/usr/src/linux-7.3-16k");
        assert_eq!(other.name(), "Linux 7.3.4-1~bpo13+1 (16k)");
        let builds: Vec<_> = other.of_this_source().iter().map(Kernel::build).collect();
        assert_eq!(
            builds,
            ["stock", "debug", "16k"].map(|kind| format!("/usr/src/linux-7.3-{kind}"))
        );
        assert!(find(amd64(), &recorded(), "16k").is_err());
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = find(amd64(), &recorded(), "7.9").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no kernel `7.9`; the kernels are: stock, debug, 7.3, 7.2"
        );
    }

    #[test]
    fn twelve_is_newer_than_nine() {
        assert!(numbers("7.2.12-1~bpo13+1") > numbers("7.2.9-1~bpo13+1"));
        assert!(numbers("7.10.1-1") > numbers("7.2.9-1"));
    }

    #[test]
    fn no_source_no_kernel() {
        let records = "Package: linux-binary-7.2.9+deb13-amd64\nVersion: 7.2.9-1~bpo13+1\n";
        assert!(available(amd64(), records).is_err());
    }
}
