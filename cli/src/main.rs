// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `chrmem` command.

// They end the program where nobody reads what it says.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod bench;
mod byte;
mod cli;
mod colour;
mod commands;
mod configfs;
mod describe;
mod doctor;
mod duration;
mod fdinfo;
mod hint;
mod json;
mod kmsg;
mod maps;
mod node;
mod plan;
mod progress;
#[cfg(test)]
#[path = "../tests/support/schema.rs"]
mod schema;
mod size;
mod source;
mod stderr;
mod sysfs;
mod target;
mod watch;
mod xml;

use anyhow::Result;
use chrmem::Errno;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::Parser;
use cli::{Cli, Command};
use commands::wait::TimedOut;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough of it.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            stderr::say(format_args!("error: {error:#}"));
            if let Some(hint) = hint::of(&error) {
                stderr::say(format_args!("hint: {hint}"));
            }
            match error.is::<TimedOut>() {
                true => TimedOut::STATUS.into(),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// The command line; the program ends here if it is not a valid one.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|mut error| {
        let missing = error.get(ContextKind::InvalidArg);
        if let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
            (error.kind(), missing)
        {
            if missing.iter().any(|it| it == "<DEVICE>" || it == "<PLACE>") {
                let tip = "`chrmem list` shows the devices".into();
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            }
        }
        error.exit()
    })
}

fn run(command: Command) -> Result<()> {
    let mut out = io::stdout().lock();
    match command {
        Command::Demo { device } => commands::demo::run(&device, &mut out),
        Command::Create(arguments) => commands::create::run(&arguments, &mut out),
        Command::Destroy(arguments) => commands::destroy::run(&arguments),
        Command::List(arguments) => commands::list::run(&arguments, &mut out),
        Command::Info(arguments) => commands::info::run(&arguments, &mut out),
        Command::Bench(arguments) => commands::bench::run(&arguments, &mut out),
        Command::Doctor(arguments) => commands::doctor::run(&arguments, &mut out),
        Command::Cat(arguments) => commands::cat::run(&arguments),
        Command::Cdi(arguments) => commands::cdi::run(&arguments, &mut out),
        Command::Completions(arguments) => commands::completions::run(&arguments, &mut out),
        Command::Man(arguments) => commands::man::run(&arguments, &mut out),
        Command::Maps(arguments) => commands::maps::run(&arguments, &mut out),
        Command::Read(arguments) => commands::read::run(&arguments, &mut out),
        Command::Write(arguments) => commands::write::run(&arguments),
        Command::Fill(arguments) => commands::fill::run(&arguments),
        Command::Clear(arguments) => commands::clear::run(&arguments),
        Command::Reset { device } => commands::reset::run(&device),
        Command::Notify { device } => commands::notify::run(&device),
        Command::Wait(arguments) => commands::wait::run(&arguments, &mut out),
        Command::Changes(arguments) => commands::changes::run(&arguments, &mut out),
        Command::Watch(arguments) => {
            // It has the terminal for itself.
            drop(out);
            commands::watch::run(&arguments)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let stream = error.downcast_ref::<io::Error>();
    let mapping = error.downcast_ref::<chrmem::Error>();
    stream.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        || mapping.is_some_and(|error| error.errno() == Some(Errno::PIPE))
}
