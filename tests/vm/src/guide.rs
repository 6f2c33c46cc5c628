// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the documentation shows as typed by root in the guest does what it shows: one test a page.
//!
//! See [`chrmem_pages`] for how a page says it.

use crate::{driver, folder};
use chrmem_pages::{blocks, Block, Place};
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{kill_process_group, Pid, Signal};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Each page's path in the checkout, and its text.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Where the shell finds the command that is typed.
const TYPED: &str = "/tmp/chrmem-typed";

/// What ends a command's output, which nothing else prints.
const MARK: &str = "\u{1e}chrmem";

/// The pages with something to run here: each one's name and what runs it.
pub(crate) fn tests() -> impl Iterator<Item = (&'static str, impl FnOnce() + Send + 'static)> {
    PAGES.iter().filter_map(|(name, text)| {
        let blocks: Vec<_> = blocks(text)
            .into_iter()
            .filter(|block| block.place() == Some(Place::Guest) && block.tested_by.is_none())
            .collect();
        (!blocks.is_empty()).then_some((*name, move || run(name, &blocks)))
    })
}

/// Runs a page's blocks in one shell, with the driver as it is after loading.
fn run(page: &str, blocks: &[Block]) {
    driver::unload_soon().expect("unload");
    driver::load("").expect("load");
    let mut shell = Shell::start();
    let mut complaints = String::new();
    for block in blocks {
        for step in block.steps() {
            let (printed, status) = shell.run(&step.command);
            if let Err(complaint) = step.judge(&printed, status == "0", &block.varies) {
                complaints += &format!(
                    "{page}:{}: {} (exit status {status})\n{complaint}",
                    step.line, step.command
                );
            }
        }
    }
    drop(shell);
    assert!(complaints.is_empty(), "\n{complaints}");
    // What a page leaves there is no matter.
    folder::remove_all();
    driver::restore();
}

/// A shell with what runs in it.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<File>,
}

impl Shell {
    fn start() -> Self {
        let (output, into) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let mut child = Command::new("bash")
            .current_dir("/lab")
            .env("COLUMNS", "100")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(into.try_clone().expect("a descriptor"))
            .stderr(into)
            .spawn()
            .expect("bash runs");
        let input = child.stdin.take().expect("a pipe");
        Self {
            child,
            input,
            output: BufReader::new(output.into()),
        }
    }

    /// Types a command: what it printed, and its exit status.
    fn run(&mut self, command: &str) -> (String, String) {
        fs::write(TYPED, command).expect(TYPED);
        writeln!(self.input, ". {TYPED} < /dev/null; echo '{MARK}' $?").expect("a shell");
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).expect("text");
            assert!(length > 0, "the shell ended after {command}: {printed}");
            if let Some((rest, status)) = line.split_once(MARK) {
                printed += rest;
                return (printed, status.trim().to_owned());
            }
            printed += &line;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // All of it may have ended already.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        let _ = fs::remove_file(TYPED);
    }
}
