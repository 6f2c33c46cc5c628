// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which kernels the lab has: of each series, the newest that the distribution has an image and a source of in the same
//! version, and one that is built from that source to find mistakes.

use std::collections::HashMap;

use anyhow::{bail, Context, Result};

use crate::{kernels, recipe};

/// The kernel that is asked for by this name is the newest of the distribution's.
pub(crate) const STOCK: &str = "stock";

/// The one that is asked for by this name is built with sanitizers, from the source of the stock kernel.
pub(crate) const DEBUG: &str = "debug";

/// A kernel of the distribution's, or built from its source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    /// What `uname -r` says of the distribution's kernel.
    packaged: String,
    /// The version of its packages.
    pub(crate) version: String,
    /// Whether it is built from the distribution's source, with sanitizers.
    pub(crate) debug: bool,
}

impl Kernel {
    /// The distribution's kernel of which `uname -r` says `release`, whose packages have this version.
    pub(crate) fn packaged_as(release: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            packaged: release.into(),
            version: version.into(),
            debug: false,
        }
    }

    /// Reads what [`Kernel::record`] wrote of a kernel of the distribution's.
    fn parse(record: &str) -> Option<Self> {
        let (release, version) = record.trim().split_once(' ')?;
        Some(Self::packaged_as(release, version))
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

    /// What it is called in what the user reads.
    pub(crate) fn name(&self) -> String {
        match self.debug {
            true => format!("Linux {} with sanitizers", self.version),
            false => format!("Linux {}", self.version),
        }
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

    /// The packages to install.
    pub(crate) fn packages(&self) -> Vec<String> {
        let mut packages: Vec<_> = ["binary", "modules", "headers"]
            .iter()
            .map(|part| format!("linux-{part}-{}", self.packaged))
            .collect();
        packages.push(format!("linux-source-{}={}", self.series(), self.version));
        packages
    }

    /// Where its source is in the tree.
    pub(crate) fn source(&self) -> String {
        format!("/usr/src/linux-{}", self.series())
    }

    /// Where in the tree it is built, as far as it is: the `KDIR` of modules for it.
    pub(crate) fn build(&self) -> String {
        let kind = if self.debug { DEBUG } else { STOCK };
        format!("{}-{kind}", self.source())
    }

    /// Where its image is in the tree.
    pub(crate) fn image(&self) -> String {
        match self.debug {
            true => format!("{}/vmlinux", self.build()),
            false => format!("/usr/lib/modules/{}/vmlinuz", self.packaged),
        }
    }

    /// What make has to be told so that it takes the compilers that the kernel was built with.
    pub(crate) fn compilers(&self) -> String {
        match self.debug {
            true => recipe::LLVM.into(),
            false => format!("CC={}", recipe::CC),
        }
    }

    /// How it is built, as far as it is.
    pub(crate) fn recipe(&self) -> &'static [&'static str] {
        match self.debug {
            true => &[recipe::DEBUG, recipe::DEBUG_CONFIG, recipe::LLVM],
            false => &[recipe::PREPARE],
        }
    }

    /// All that are built from its source: the distribution's, and the one with sanitizers.
    pub(crate) fn of_this_source(&self) -> [Self; 2] {
        let stock = Self {
            debug: false,
            ..self.clone()
        };
        [stock.clone(), stock.debug()]
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
pub(crate) fn available(records: &str) -> Result<Vec<Kernel>> {
    let packages: HashMap<_, _> = records.split("\n\n").filter_map(package).collect();
    let newest = |series: &str| {
        packages
            .iter()
            .filter_map(|(name, version)| {
                let release = name.strip_prefix("linux-binary-")?.strip_suffix("-amd64")?;
                // Flavours have a name of their own in between; `unsigned` images are not what a machine boots.
                let plain =
                    release.starts_with(|c: char| c.is_ascii_digit()) && !release.contains('-');
                let kernel = Kernel::packaged_as(format!("{release}-amd64"), *version);
                let source = packages.get(format!("linux-source-{series}").as_str())?;
                (plain && kernel.series() == series && source == version).then_some(kernel)
            })
            .max_by_key(|kernel| numbers(&kernel.version))
    };
    let mut kernels: Vec<_> = kernels::supported().filter_map(newest).collect();
    kernels.reverse();
    if kernels.is_empty() {
        bail!(
            "the distribution offers no Linux {} that has an image and a source of the same version",
            kernels::supported().collect::<Vec<_>>().join(" or ")
        );
    }
    Ok(kernels)
}

/// The kernel that is asked for by `name`, of those that [`available`] found, as they were recorded.
pub(crate) fn find(records: &str, name: &str) -> Result<Kernel> {
    let kernels: Vec<_> = records.lines().filter_map(Kernel::parse).collect();
    let first = kernels
        .first()
        .context("the record of what kernels there are is damaged")?;
    match name {
        STOCK => Ok(first.clone()),
        DEBUG => Ok(first.clone().debug()),
        _ => kernels
            .iter()
            .find(|kernel| kernel.series() == name)
            .cloned()
            .with_context(|| {
                let series: Vec<_> = kernels.iter().map(Kernel::series).collect();
                format!(
                    "there is no kernel `{name}`; the kernels are: {STOCK}, {DEBUG}, {}",
                    series.join(", ")
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

    const RECORDS: &str = "Package: linux-binary-7.2.9+deb13-amd64\nVersion: 7.2.9-1~bpo13+1\n\n\
         Package: linux-binary-7.2.12+deb13-amd64\nSource: linux\nVersion: 7.2.12-1~bpo13+1\n\n\
         Package: linux-binary-7.2.12+deb13-rt-amd64\nVersion: 7.2.12-1~bpo13+1\n\n\
         Package: linux-binary-unsigned-7.3.5+deb13-amd64\nVersion: 7.3.5-1~bpo13+1\n\n\
         Package: linux-binary-7.3.4+deb13-amd64\nVersion: 7.3.4-1~bpo13+1\n\n\
         Package: linux-binary-7.9.1+deb13-amd64\nVersion: 7.9.1-1~bpo13+1\n\n\
         Package: linux-source-7.9\nVersion: 7.9.1-1~bpo13+1\n\n\
         Package: linux-source-7.3\nVersion: 7.3.4-1~bpo13+1\n\n\
         Package: linux-source-7.2\nVersion: 7.2.12-1~bpo13+1\n";

    fn recorded() -> String {
        let kernels = available(RECORDS).unwrap();
        kernels.iter().map(Kernel::record).collect()
    }

    #[test]
    fn takes_the_newest_of_each_series_that_is_complete() {
        let kernel = find(&recorded(), "7.2").unwrap();
        assert_eq!(kernel.release(), "7.2.12+deb13-amd64");
        assert_eq!(kernel.version, "7.2.12-1~bpo13+1");
        assert_eq!(kernel.series(), "7.2");
        assert_eq!(kernel.localversion(), "+deb13-amd64");
        assert_eq!(kernel.build(), "/usr/src/linux-7.2-stock");
    }

    #[test]
    fn stock_is_the_newest_that_the_driver_is_written_for() {
        let kernel = find(&recorded(), "stock").unwrap();
        assert_eq!(kernel.release(), "7.3.4+deb13-amd64");
    }

    #[test]
    fn debug_is_built_from_the_source_of_stock() {
        let kernel = find(&recorded(), "debug").unwrap();
        assert_eq!(kernel.release(), "7.3.4-debug");
        assert_eq!(kernel.packaged(), "7.3.4+deb13-amd64");
        assert_eq!(kernel.source(), "/usr/src/linux-7.3");
        assert_eq!(kernel.build(), "/usr/src/linux-7.3-debug");
        assert!(kernel.recipe().contains(&crate::recipe::DEBUG_CONFIG));
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = find(&recorded(), "7.9").unwrap_err().to_string();
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
        assert!(available(records).is_err());
    }
}
