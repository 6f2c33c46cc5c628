// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the kernel tells of an open device beside its ioctls.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

/// How many mappings the device has at the moment, those of all processes; `None` if the file is no
/// device.
pub(crate) fn mappings(device: impl AsFd) -> Option<u64> {
    let fd = device.as_fd().as_raw_fd();
    mappings_in(&fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
}

/// The first of the two counts: how many there are now, and how many there ever were.
fn mappings_in(text: &str) -> Option<u64> {
    let counts = text
        .lines()
        .find_map(|line| line.strip_prefix("chrmem-mappings:"))?;
    counts.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        let text = "pos:\t0\nflags:\t02\nchrmem-size:\t4096\nchrmem-mappings:\t3 17\n";
        assert_eq!(mappings_in(text), Some(3));
        assert_eq!(mappings_in("pos:\t0\nflags:\t02\n"), None);
        assert_eq!(mappings_in("chrmem-mappings:\n"), None);
    }

    #[test]
    fn other_files_have_none() {
        assert_eq!(
            mappings(fs::File::open("/dev/null").expect("/dev/null")),
            None
        );
    }
}
