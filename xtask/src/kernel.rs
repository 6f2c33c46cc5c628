// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which kernel the lab takes: the newest of the series that the distribution has an image and a source of in the same version.

use std::collections::HashMap;

use anyhow::{Context, Result};

/// A packaged kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    /// What `uname -r` says.
    pub(crate) release: String,
    /// The version of its packages.
    pub(crate) version: String,
}

impl Kernel {
    /// Reads what [`Kernel::record`] wrote.
    pub(crate) fn parse(record: &str) -> Option<Self> {
        let (release, version) = record.trim().split_once(' ')?;
        Some(Self {
            release: release.into(),
            version: version.into(),
        })
    }

    /// One line that names the kernel.
    pub(crate) fn record(&self) -> String {
        format!("{} {}\n", self.release, self.version)
    }

    /// The part of the release that its source goes by, such as 7.2.
    pub(crate) fn series(&self) -> String {
        self.release
            .split('.')
            .take(2)
            .collect::<Vec<_>>()
            .join(".")
    }

    /// What the distribution appended to the upstream version.
    pub(crate) fn localversion(&self) -> &str {
        self.release
            .find(|c: char| c != '.' && !c.is_ascii_digit())
            .map_or("", |at| &self.release[at..])
    }

    /// The packages to install.
    pub(crate) fn packages(&self) -> Vec<String> {
        let mut packages: Vec<_> = ["binary", "modules", "headers"]
            .iter()
            .map(|part| format!("linux-{part}-{}", self.release))
            .collect();
        packages.push(format!("linux-source-{}={}", self.series(), self.version));
        packages
    }

    /// Where its image is in the tree.
    pub(crate) fn image(&self) -> String {
        format!("/usr/lib/modules/{}/vmlinuz", self.release)
    }
}

/// Takes the newest kernel of `series` from apt's records of what is available.
pub(crate) fn newest(records: &str, series: &str) -> Result<Kernel> {
    let packages: HashMap<_, _> = records.split("\n\n").filter_map(package).collect();
    packages
        .iter()
        .filter_map(|(name, version)| {
            let release = name.strip_prefix("linux-binary-")?.strip_suffix("-amd64")?;
            // Flavours have a name of their own in between; `unsigned` images are not what a machine boots.
            let plain = release.starts_with(|c: char| c.is_ascii_digit()) && !release.contains('-');
            let kernel = Kernel {
                release: format!("{release}-amd64"),
                version: (*version).to_owned(),
            };
            let source = packages.get(format!("linux-source-{}", kernel.series()).as_str())?;
            (plain && kernel.series() == series && source == version).then_some(kernel)
        })
        .max_by_key(|kernel| numbers(&kernel.version))
        .with_context(|| {
            format!("the distribution offers no Linux {series} that has an image and a source of the same version")
        })
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
    use super::{newest, numbers, Kernel};

    const RECORDS: &str = "Package: linux-binary-7.2.9+deb13-amd64\nVersion: 7.2.9-1~bpo13+1\n\n\
         Package: linux-binary-7.2.12+deb13-amd64\nSource: linux\nVersion: 7.2.12-1~bpo13+1\n\n\
         Package: linux-binary-7.2.12+deb13-rt-amd64\nVersion: 7.2.12-1~bpo13+1\n\n\
         Package: linux-binary-unsigned-7.3.4+deb13-amd64\nVersion: 7.3.4-1~bpo13+1\n\n\
         Package: linux-binary-7.3.4+deb13-amd64\nVersion: 7.3.4-1~bpo13+1\n\n\
         Package: linux-source-7.3\nVersion: 7.3.4-1~bpo13+1\n\n\
         Package: linux-source-7.2\nVersion: 7.2.12-1~bpo13+1\n";

    #[test]
    fn takes_the_newest_of_the_series_that_is_complete() {
        let kernel = newest(RECORDS, "7.2").unwrap();
        assert_eq!(kernel.release, "7.2.12+deb13-amd64");
        assert_eq!(kernel.version, "7.2.12-1~bpo13+1");
        assert_eq!(kernel.series(), "7.2");
        assert_eq!(kernel.localversion(), "+deb13-amd64");
        assert_eq!(Kernel::parse(&kernel.record()), Some(kernel));
    }

    #[test]
    fn twelve_is_newer_than_nine() {
        assert!(numbers("7.2.12-1~bpo13+1") > numbers("7.2.9-1~bpo13+1"));
        assert!(numbers("7.10.1-1") > numbers("7.2.9-1"));
    }

    #[test]
    fn no_source_no_kernel() {
        assert!(newest(
            "Package: linux-binary-7.2.9+deb13-amd64\nVersion: 7.2.9-1~bpo13+1\n",
            "7.2"
        )
        .is_err());
    }
}
