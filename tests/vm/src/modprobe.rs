// SPDX-License-Identifier: MIT OR Apache-2.0

//! A module of the kernel's own.

use std::process::Command;

/// A module, loaded until dropped.
#[derive(Debug)]
pub(crate) struct Module(&'static str);

impl Module {
    /// Loads it, with its parameters.
    pub(crate) fn load(name: &'static str, parameters: &[&str]) -> Self {
        modprobe(&[&[name], parameters].concat());
        Self(name)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        modprobe(&["-r", self.0]);
    }
}

fn modprobe(arguments: &[&str]) {
    let output = Command::new("modprobe").args(arguments).output();
    let output = output.expect("modprobe runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || std::thread::panicking(),
        "{arguments:?}: {complaint}"
    );
}
