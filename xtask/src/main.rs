// SPDX-License-Identifier: MIT OR Apache-2.0

//! The project's own commands: `cargo xtask …`.
//!
//! The lab is one Debian tree, kept in a cache: the driver is built in it, and a VM boots with it as its root file
//! system. [`setup`] makes it, [`driver`] and [`programs`] build what goes in, [`vm`] runs it.

mod cache;
mod check;
mod demo;
mod driver;
mod guest;
mod host;
mod interrupt;
mod job;
mod kernel;
mod kvm;
mod licences;
mod machine;
mod pages;
mod panics;
mod programs;
mod progress;
mod recipe;
mod report;
mod root;
mod setup;
mod test;
mod trouble;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// What is on the command line.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's own commands",
    version
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Subcommand)]
enum Command {
    /// From a fresh machine to the running demo, and its transcript.
    Demo,
    /// From a fresh machine to a verdict: the host tests, then the VM tests.
    Test {
        /// Passed to the test programs: a part of the names of the tests to run.
        #[arg(last = true)]
        filter: Vec<String>,
    },
    /// Formatting, lints, docs, licences, the driver's warnings: what CI runs before the tests.
    Check {
        /// A part of the names of the checks to run; all if not given.
        filter: Option<String>,
    },
    /// Put what the tests told of themselves when they last ran into docs/reliability.md.
    Report,
    /// Boot the VM, load the driver, run a command as root in it and pass on its output and exit status.
    Vm(vm::Args),
    /// Remove the lab's trees that no run is using.
    Clean,
}

fn main() -> ExitCode {
    match interrupt::install().and_then(|()| run(Cli::parse().command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command.
fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo => demo::run(),
        Command::Test { filter } => test::run(&filter),
        Command::Check { filter } => check::run(filter.as_deref().unwrap_or_default()),
        Command::Report => report::write(),
        Command::Vm(args) => vm::command(&args),
        Command::Clean => cache::clean(),
    }
}
