// SPDX-License-Identifier: MIT OR Apache-2.0

//! The project's own commands: `cargo xtask …`.
//!
//! The lab is one Debian tree, kept in a cache: the driver is built in it, and a VM boots with it as its root file
//! system. [`setup`] makes it, [`driver`] and [`programs`] build what goes in, [`vm`] runs it.

mod arch;
mod bench;
mod book;
mod boot;
mod cache;
mod check;
mod count;
mod debian;
mod demo;
mod detectors;
mod dist;
mod driver;
#[path = "../../tests/vm/src/elsewhere.rs"]
mod elsewhere;
mod guest;
mod host;
mod install;
mod interrupt;
mod job;
mod kernel;
mod kernels;
mod kvm;
mod licences;
mod machine;
mod mutants;
mod nightly;
mod oldest;
mod pages;
mod panics;
mod places;
mod prepare;
mod programs;
mod progress;
mod recipe;
mod report;
mod root;
mod setup;
mod stage;
mod tee;
mod terminal;
mod test;
mod tree;
mod trouble;
mod vm;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use arch::Arch;

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
    Demo {
        /// The machine's architecture, as `vm` takes it.
        #[arg(long, value_name = "NAME", default_value = arch::default(), value_parser = Arch::named)]
        arch: &'static Arch,
        /// Draw the transcript into a file, too.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// From a fresh machine to a verdict: the host tests, then the VM tests.
    Test {
        /// The machine's architecture, as `vm` takes it. Another than this machine's has the VM tests alone.
        #[arg(long, value_name = "NAME", default_value = arch::default(), value_parser = Arch::named)]
        arch: &'static Arch,
        /// The kernel, as `vm` takes it. `debug` has VM tests of its own, and does without the host tests; a series has the VM tests
        /// alone.
        #[arg(long, value_name = "NAME", default_value = kernel::STOCK)]
        kernel: String,
        /// Passed to the test programs: a part of the names of the tests to run.
        #[arg(last = true)]
        filter: Vec<String>,
    },
    /// Formatting, lints, docs, licences, the driver's warnings: what CI runs before the tests.
    Check {
        /// A part of the names of the checks to run; all if not given.
        filter: Option<String>,
    },
    /// Make the documentation's book, and say where it is.
    Book,
    /// What takes too long to run for each change: the packages' trials, another kernel, mutants and the sanitizers.
    Nightly {
        /// A part of the names of the parts to run; all if not given.
        filter: Option<String>,
    },
    /// Put defects into the driver, one at a time, and see that the tests notice.
    Mutants {
        /// Which ones: the files in tests/mutants; all, if none is named.
        names: Vec<String>,
    },
    /// Put what the tests told of themselves when they last ran into docs/reliability.md and docs/importers.md.
    Report,
    /// Measure in the VM what everything costs, in instructions, beside its peers and the goals.
    Bench(bench::Options),
    /// Boot the VM, load the driver, run a command as root in it and pass on its output and exit status.
    Vm(vm::Args),
    /// What there is to do about a kernel of this machine.
    #[command(subcommand)]
    Kernel(prepare::Command),
    /// Build all for a kernel of this machine, and install and load it.
    Install(install::Args),
    /// Remove all that `install` installed.
    Uninstall,
    /// Make the packages: for Debian, and crates.
    Dist(dist::Args),
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
        Command::Demo { arch, svg } => demo::run(arch, svg.as_deref()),
        Command::Test {
            arch,
            kernel,
            filter,
        } => test::run(arch, &kernel, &filter),
        Command::Check { filter } => check::run(filter.as_deref().unwrap_or_default()),
        Command::Book => book::run(),
        Command::Nightly { filter } => nightly::run(filter.as_deref().unwrap_or_default()),
        Command::Mutants { names } => mutants::run(&names),
        Command::Report => report::write(),
        Command::Bench(options) => bench::run(&options),
        Command::Vm(args) => vm::command(&args),
        Command::Kernel(command) => prepare::run(&command),
        Command::Install(args) => install::install(&args),
        Command::Uninstall => install::uninstall(),
        Command::Dist(args) => dist::run(&args),
        Command::Clean => cache::clean(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
