// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which series of Linux the driver is for: what the file `driver/kernels` says.

/// The file.
const FILE: &str = include_str!("../../driver/kernels");

/// The series, oldest first.
pub(crate) fn supported() -> impl Iterator<Item = &'static str> {
    FILE.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The series of a release: 7.2 of `7.2.12+deb13-amd64`.
pub(crate) fn series(release: &str) -> &str {
    let end = release
        .match_indices(|c: char| !c.is_ascii_digit())
        .nth(1)
        .map_or(release.len(), |(at, _)| at);
    release[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::{series, supported};

    #[test]
    fn releases_belong_to_series() {
        for (release, expected) in [
            ("7.2.12+deb13-amd64", "7.2"),
            ("7.3-rc1", "7.3"),
            ("7.20.1-arch1-1", "7.20"),
            ("7.3", "7.3"),
        ] {
            assert_eq!(series(release), expected);
        }
    }

    #[test]
    fn what_people_read_says_the_same() {
        let all: Vec<_> = supported().collect();
        let said = all.join(" and ");
        for (name, text) in [
            ("README.md", include_str!("../../README.md")),
            ("docs/kernels.md", include_str!("../../docs/kernels.md")),
        ] {
            assert!(text.contains(&said), "{name} does not say `{said}`");
        }
    }

    #[test]
    fn the_file_is_a_list_of_series() {
        let all: Vec<_> = supported().collect();
        assert!(!all.is_empty());
        for one in all {
            assert_eq!(series(one), one);
        }
    }
}
