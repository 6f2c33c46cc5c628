// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask demo`: the lesson, in the guest's own shell. Only its transcript goes to standard output.

use std::process::ExitCode;

use anyhow::Result;

use crate::job::Job;
use crate::programs;
use crate::vm::{self, Args};

/// Runs the demo.
pub(crate) fn run() -> Result<ExitCode> {
    let args = Args {
        no_load: true,
        ..Args::default()
    };
    let (lab, chrmem) = vm::lab_and(programs::chrmem)?;
    let mut job = Job::new(&args, &lab, &[chrmem])?;
    job.add("demo.sh", include_bytes!("../guest/demo.sh"))?;
    job.command(["sh", "demo.sh"])?;
    vm::exit_code(&job.run(std::io::stdout())?)
}
