// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask demo`: the lesson, in the guest's own shell. Only its transcript goes to standard output.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use fs_err as fs;

use crate::arch::Arch;
use crate::job::Job;
use crate::tee::Tee;
use crate::vm::{self, Args};
use crate::{programs, terminal};

/// Runs the demo, and draws its transcript into a file if that is wanted.
pub(crate) fn run(arch: &'static Arch, svg: Option<&Path>) -> Result<ExitCode> {
    let args = Args {
        arch,
        no_load: true,
        ..Args::default()
    };
    let (lab, chrmem) = vm::lab_and(arch, &args.kernel, || programs::chrmem(arch))?;
    let mut job = Job::new(&args, &lab, &[chrmem])?;
    job.add("demo.sh", include_bytes!("../guest/demo.sh"))?;
    job.command(["sh", "demo.sh"])?;
    let output = Tee::default();
    let outcome = job.run(output.clone())?;
    let code = vm::exit_code(&outcome)?;
    if let (Some(path), 0) = (svg, outcome.status) {
        let flag = match arch.is_foreign() {
            true => format!(" --arch {}", arch.name),
            false => String::new(),
        };
        let transcript = format!("$ cargo xtask demo{flag}\n{}", output.text());
        fs::write(path, terminal::draw(&transcript))?;
    }
    Ok(code)
}
