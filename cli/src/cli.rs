// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be typed.

use crate::commands::create::{self, Create};
use crate::commands::destroy::Destroy;
use crate::commands::info::Info;
use crate::commands::list::List;
use crate::node::Device;
use clap::{Parser, Subcommand};

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
    /// Make a device of windows, all at once or not at all
    #[command(after_help = create::EXAMPLE)]
    Create(Create),
    /// Remove devices that were made by create
    ///
    /// The node goes, and open files get errors from then on. Mappings go on working, and the memory
    /// is freed with the last of them.
    #[command(after_help = "Example:\n  chrmem destroy camera")]
    Destroy(Destroy),
    /// List all devices
    #[command(after_help = "Example:\n  chrmem list --json | jq '.[].node'")]
    List(List),
    /// Show a device's size, generation, mappings and windows
    #[command(after_help = "Example:\n  chrmem info camera")]
    Info(Info),
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
