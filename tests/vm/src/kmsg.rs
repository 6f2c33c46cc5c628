// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel log.

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// A place in the kernel log.
pub(crate) struct Mark(OwnedFd);

impl Mark {
    /// The end of the log.
    pub(crate) fn now() -> Self {
        let mark = Self::boot();
        rustix::fs::seek(&mark.0, SeekFrom::End(0)).expect("the end of the log");
        mark
    }

    /// The first message that the log still has.
    pub(crate) fn boot() -> Self {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self(rustix::fs::open("/dev/kmsg", flags, Mode::empty()).expect("/dev/kmsg"))
    }

    /// The driver's messages since, without its name.
    pub(crate) fn driver(&self) -> Vec<String> {
        let own = |line: String| line.strip_prefix("chrmem: ").map(str::to_owned);
        self.all().into_iter().filter_map(own).collect()
    }

    /// All messages since the last call.
    pub(crate) fn all(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut record = [0; 8192];
        loop {
            match rustix::io::read(&self.0, &mut record) {
                Ok(len) => {
                    // `6,339,5140900,-;message`, then lines that describe the sender.
                    let text = String::from_utf8_lossy(&record[..len]);
                    let (_, message) = text.split_once(';').expect("a record");
                    messages.push(message.lines().next().unwrap_or_default().to_owned());
                }
                Err(Errno::AGAIN) => return messages,
                // Records were overwritten before they were read.
                Err(Errno::PIPE) => {}
                Err(error) => panic!("/dev/kmsg: {error}"),
            }
        }
    }
}

/// Writes a line into the log.
pub(crate) fn say(line: &str) {
    std::fs::write("/dev/kmsg", format!("{line}\n")).expect("/dev/kmsg");
}
