// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel log.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

/// The kernel log from a moment on.
pub(crate) struct Log(File);

impl Log {
    /// The log from now on; `None` if the caller may not read it.
    pub(crate) fn from_now() -> Option<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open("/dev/kmsg")
            .ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self(file))
    }

    /// What the driver has said of the device `node` since: each line without what all lines have.
    pub(crate) fn of(mut self, node: &str) -> Vec<String> {
        let mut lines = Vec::new();
        // One record a read; a longer one than this does not exist.
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return lines,
                Ok(length) => {
                    let record = String::from_utf8_lossy(&record[..length]);
                    lines.extend(line_of(&record, node).map(str::to_owned));
                }
                // Records were overwritten before they were read; the next ones are there.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => return lines,
            }
        }
    }
}

/// What a record says if the driver said it of the device `node`.
fn line_of<'a>(record: &'a str, node: &str) -> Option<&'a str> {
    let (_, message) = record.lines().next()?.split_once(';')?;
    message
        .strip_prefix("chrmem: ")?
        .strip_prefix(node)?
        .strip_prefix(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_driver_s_lines_of_the_device_count() {
        let record = "3,1022,58181200,-;chrmem: chrmem-camera: window frames: size 0\n";
        assert_eq!(
            line_of(record, "chrmem-camera"),
            Some("window frames: size 0")
        );
        assert_eq!(line_of(record, "chrmem-cam"), None);
        assert_eq!(
            line_of("6,1,2,-;usb 1-1: chrmem-camera: x\n", "chrmem-camera"),
            None
        );
        assert_eq!(line_of("nonsense", "chrmem-camera"), None);
        let more = "3,1,2,-;chrmem: chrmem-a: it has no windows\n SUBSYSTEM=x\n";
        assert_eq!(line_of(more, "chrmem-a"), Some("it has no windows"));
    }
}
