// SPDX-License-Identifier: MIT OR Apache-2.0

//! RDMA over `rxe`, which is a network card with RDMA in software, on `lo`. The program is `rdma.c`: RDMA's library is C.

use super::memory::{bytes, Memory, SIZE};
use super::{Outcome, PASS, READS};
use crate::modprobe::Module;
use rustix::io::{dup, Errno};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

/// The program.
const PROGRAM: &str = "/tmp/chrmem-rdma";

/// The network card, until dropped.
pub(super) struct Rxe {
    _modules: [Module; 2],
}

impl Rxe {
    pub(super) fn new() -> Self {
        const SOURCE: &str = "/tmp/chrmem-rdma.c";
        fs::write(SOURCE, include_str!("rdma.c")).expect(SOURCE);
        let flags = ["-Wall", "-Wextra", "-Werror", "-O1"];
        let files = [SOURCE, "-o", PROGRAM, "-libverbs"];
        run("gcc", &[&flags[..], &files].concat());
        let modules = ["ib_uverbs", "rdma_rxe"].map(|it| Module::load(it, &[]));
        run(
            "rdma",
            &["link", "add", "rxe0", "type", "rxe", "netdev", "lo"],
        );
        Self { _modules: modules }
    }

    /// `ibv_reg_mr` of the memory's mapping, and transfers both ways.
    pub(super) fn register_mapping(&self, memory: &Memory) -> Outcome {
        let (file, offset) = memory.file();
        let before = memory.fill(13);
        if !memory.is_writable() {
            assert_eq!(self.run("write", file, offset), Err(Errno::FAULT));
            self.run("read", file, offset)?;
            assert!(memory.read() == before, "changed");
            return Ok(READS);
        }
        self.run("write", file, offset)?;
        let expected: Vec<u8> = bytes(13).iter().map(|byte| !byte).collect();
        assert!(memory.read() == expected, "written");
        Ok(PASS)
    }

    /// `ibv_reg_dmabuf_mr`.
    pub(super) fn register_buffer(&self, memory: &Memory) -> Outcome {
        self.run("buffer", memory.buffer()?, 0)?;
        Ok(PASS)
    }

    /// Runs the program.
    fn run(&self, what: &str, file: impl AsFd, offset: usize) -> Result<(), Errno> {
        // The program inherits this one.
        let inherited = dup(file).expect("a descriptor");
        let words = [
            what,
            &inherited.as_raw_fd().to_string(),
            &offset.to_string(),
            &SIZE.to_string(),
        ];
        let output = Command::new(PROGRAM).args(words).output().expect(PROGRAM);
        let printed = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {printed}{complaint}");
        match printed.trim().split_once(' ') {
            Some(("errno", number)) => {
                Err(Errno::from_raw_os_error(number.parse().expect("a number")))
            }
            _ => {
                assert_eq!(printed, "done\n");
                Ok(())
            }
        }
    }
}

impl Drop for Rxe {
    fn drop(&mut self) {
        run("rdma", &["link", "delete", "rxe0"]);
    }
}

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().expect(program);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {complaint}");
}
