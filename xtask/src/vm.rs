// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask vm`: boots the VM and runs a command in it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::{anyhow, ensure, Result};

use crate::arch::{self, Arch};
use crate::guest::Outcome;
use crate::job::Job;
use crate::setup::{self, Lab};
use crate::{kernel, programs};

/// What one run is like.
#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// The guest's architecture, as Debian calls it: `amd64` or `arm64`.
    #[arg(long, value_name = "NAME", default_value = arch::default(), value_parser = Arch::named)]
    pub(crate) arch: &'static Arch,
    /// How the guest's processor is made; KVM where a probe shows that it works, TCG otherwise.
    #[arg(long)]
    pub(crate) accel: Option<Accel>,
    /// Make the guest's clock count instructions, one a nanosecond (implies --accel tcg and --smp 1).
    #[arg(long)]
    pub(crate) icount: bool,
    /// The kernel to boot: `stock` is the distribution's newest that the driver is written for, a series such as `7.2` its newest
    /// of that series, `debug` is built with sanitizers.
    #[arg(long, value_name = "NAME", default_value = kernel::STOCK)]
    pub(crate) kernel: String,
    /// The number of processors.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) smp: u32,
    /// A machine of which the firmware says that devices do not see the processor's caches (only arm64).
    #[arg(long)]
    pub(crate) incoherent: bool,
    /// The size of the memory, as QEMU writes it: 1G, and 2G for the kernel with sanitizers.
    #[arg(long, value_name = "SIZE")]
    pub(crate) mem: Option<String>,
    /// A directory to mount read-write at /share.
    #[arg(long, value_name = "DIR")]
    pub(crate) share: Option<PathBuf>,
    /// Leave loading and unloading of the driver to the command: it is chrmem.ko in the working directory, /lab.
    #[arg(long)]
    pub(crate) no_load: bool,
    /// Parameters to load the driver with, such as 'size=65536 devices=2'.
    #[arg(
        long,
        value_name = "PARAMETERS",
        default_value = "",
        conflicts_with = "no_load"
    )]
    pub(crate) params: String,
    /// More for the kernel's command line, such as 'page_poison=1'.
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    pub(crate) append: String,
    /// The time that the command may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
    /// The command and its arguments; without one, an interactive shell.
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

impl Default for Args {
    fn default() -> Self {
        /// Gives clap the whole of a command line.
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        <Line as clap::Parser>::parse_from(["vm"]).args
    }
}

/// See [`Args::accel`].
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Accel {
    /// The host's processor.
    Kvm,
    /// Emulation.
    Tcg,
}

/// Runs the command line's command.
pub(crate) fn command(args: &Args) -> Result<ExitCode> {
    ensure!(
        !args.icount || args.accel != Some(Accel::Kvm),
        "--icount needs --accel tcg: KVM does not count instructions"
    );
    let (lab, programs) = lab_and(args.arch, &args.kernel, || {
        programs::all(args.arch, &args.kernel)
    })?;
    let mut job = Job::new(args, &lab, &programs.commands)?;
    job.examples(&programs.examples)?;
    if !args.command.is_empty() {
        job.command(args.command.iter().map(String::as_str))?;
    }
    exit_code(&job.run(std::io::stdout())?)
}

/// The exit code for a run: the command's own, unless something went wrong that it could not know.
pub(crate) fn exit_code(outcome: &Outcome) -> Result<ExitCode> {
    outcome.verdict()?;
    Ok(ExitCode::from(outcome.status))
}

/// Makes the lab with the kernel called `kernel`, and meanwhile what `build` makes on the host.
pub(crate) fn lab_and<T: Send>(
    arch: &'static Arch,
    kernel: &str,
    build: impl FnOnce() -> Result<T> + Send,
) -> Result<(Lab, T)> {
    thread::scope(|scope| {
        let built = scope.spawn(build);
        let lab = setup::lab(arch, kernel)?;
        let built = built
            .join()
            .map_err(|_| anyhow!("building for the guest panicked"))??;
        Ok((lab, built))
    })
}
