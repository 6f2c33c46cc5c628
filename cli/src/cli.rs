// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be typed.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Direct access to memory that the kernel owns.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 not understood.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the first lesson: a mapping is the device's memory
    ///
    /// Maps the device, then prints the C string that the mapping starts with: as it is, after
    /// storing a text into the mapping, after clearing the device and after resetting it. What was
    /// in the device is gone then, also for others who use it.
    #[command(after_help = DEMO_EXAMPLE)]
    Demo {
        #[command(flatten)]
        device: Device,
    },
    /// Show a device's size, generation and windows
    #[command(after_help = "Example:\n  chrmem info /dev/chrmem0")]
    Info {
        #[command(flatten)]
        device: Device,
    },
    /// Zero a device's memory
    #[command(after_help = "Example:\n  chrmem clear /dev/chrmem0")]
    Clear {
        #[command(flatten)]
        device: Device,
    },
    /// Zero a device's memory and put `hello, user!` at its start
    #[command(after_help = "Example:\n  chrmem reset /dev/chrmem0")]
    Reset {
        #[command(flatten)]
        device: Device,
    },
}

const DEMO_EXAMPLE: &str = "\
Example, on a device that was just loaded:
  $ chrmem demo
  Before Write, shm = ****************************************
  After write, shm = User write to share memory!
  After clear, shm =
  After reset, shm = hello, user!";

/// The device that a command is about.
#[derive(Args)]
pub(crate) struct Device {
    /// The device's node
    #[arg(value_name = "DEVICE", default_value = "/dev/chrmem0")]
    path: PathBuf,
}

impl Device {
    /// Opens the device for reading and writing.
    pub(crate) fn open(&self) -> chrmem::Result<chrmem::Device> {
        chrmem::Device::open(&self.path)
    }

    /// Opens the device for reading.
    pub(crate) fn open_read_only(&self) -> chrmem::Result<chrmem::Device> {
        chrmem::Device::open_read_only(&self.path)
    }
}
