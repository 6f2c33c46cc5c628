// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask dist`: the packages. With `--test`, each is also installed, used and purged.

pub(crate) mod build;
mod crates;
mod debs;
mod reader;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use fs_err as fs;

use crate::arch::{self, Arch};
use crate::vm;
use crate::{driver, kernel, programs, workspace};

/// What is to be done.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to make, if not all.
    parts: Vec<Part>,
    /// The architecture of the packages for Debian, as `vm` takes it.
    #[arg(long, value_name = "NAME", default_value = arch::default(), value_parser = Arch::named)]
    arch: &'static Arch,
    /// Check what was made: install, use and purge each package in a Debian tree and in the VM.
    #[arg(long)]
    test: bool,
}

/// A kind of packages.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Part {
    /// The crates, as they would be published.
    Crates,
    /// The packages for Debian.
    Debs,
}

/// Where the packages go.
fn folder() -> Result<PathBuf> {
    let dir = workspace::target()?.join("dist");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Makes the packages.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    if wanted(Part::Crates) {
        show(&crates::make()?);
    }
    if wanted(Part::Debs) {
        let (lab, (chrmem, here)) = vm::lab_and(args.arch, kernel::STOCK, || {
            let chrmem = build::chrmem(args.arch)?;
            let here = match args.arch.is_foreign() {
                true => programs::chrmem(Arch::native())?,
                false => chrmem.clone(),
            };
            Ok((chrmem, here))
        })?;
        let module = driver::build(&lab)?;
        let debs = debs::make(&debs::Built {
            lab: &lab,
            chrmem: &chrmem,
            here: &here,
            module: &module,
        })?;
        show(&debs.files);
        if args.test {
            if args.arch.is_foreign() {
                trial::emulated(&lab, &debs)?;
            } else {
                trial::run(&lab, &chrmem, &debs)?;
            }
            println!("the packages passed their trials");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was made.
fn show(files: &[PathBuf]) {
    for file in files {
        println!("{}", file.display());
    }
}
