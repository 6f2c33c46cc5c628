// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be typed.

use crate::commands::bench::{self, Bench};
use crate::commands::cat::{self, Cat};
use crate::commands::cdi::{self, Cdi};
use crate::commands::changes;
use crate::commands::clear::{self, Clear};
use crate::commands::completions::{self, Completions};
use crate::commands::create::{self, Create};
use crate::commands::destroy::Destroy;
use crate::commands::doctor::Doctor;
use crate::commands::fill::{self, Fill};
use crate::commands::info::Info;
use crate::commands::list::List;
use crate::commands::man::{self, Pages};
use crate::commands::maps::{self, Maps};
use crate::commands::read::{self, Read};
use crate::commands::wait::{self, TimedOut, Wait};
use crate::commands::watch;
use crate::commands::write::{self, Write};
use crate::node::{Device, NamedDevice};
use clap::{Parser, Subcommand};

/// Direct access to memory that the kernel owns.
#[derive(Parser)]
#[command(
    name = "chrmem",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = exit_status())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the first lesson: a mapping is the device's memory
    ///
    /// Maps the first window, then prints the C string at its start: before and after storing a text
    /// through the mapping, after clearing the device, and after resetting it. This erases the
    /// device, also for its other users.
    #[command(after_help = DEMO_EXAMPLE)]
    Demo {
        #[command(flatten)]
        device: NamedDevice,
    },
    /// Create a device from windows, completely or not at all
    #[command(after_help = create::EXAMPLE)]
    Create(Create),
    /// Destroy devices that were made with create
    ///
    /// The node disappears, and open files fail from then on. Mappings keep working; the memory is
    /// freed with the last of them.
    #[command(after_help = "Example:\n  chrmem destroy camera")]
    Destroy(Destroy),
    /// List all devices
    #[command(after_help = "Example:\n  chrmem list --json | jq '.[].node'")]
    List(List),
    /// Show the size, generation, mappings and windows of a device
    #[command(after_help = "Example:\n  chrmem info camera")]
    Info(Info),
    /// Diagnose problems and suggest fixes
    ///
    /// Checks the kernel, the module, what is needed to build it, configfs and the devices. The exit
    /// status is 1 if there is a problem.
    #[command(after_help = "Example:\n  chrmem doctor")]
    Doctor(Doctor),
    /// Show which process maps which window, and where
    ///
    /// Draws the windows of each device side by side, larger ones wider but not in proportion. Below
    /// them, each line is a mapping with its addresses; a light bar is read-only. Mappings of
    /// exported buffers are not shown.
    #[command(after_help = maps::EXAMPLE)]
    Maps(Maps),
    /// Show the bytes of a device
    ///
    /// In hexadecimal with offsets, or unchanged.
    #[command(after_help = read::EXAMPLE)]
    Read(Read),
    /// Write bytes to a device
    ///
    /// Input known to be too long is rejected; an over-long stream is truncated with an error.
    #[command(after_help = write::EXAMPLE)]
    Write(Write),
    /// Fill a device with a byte
    #[command(after_help = fill::EXAMPLE)]
    Fill(Fill),
    /// Zero a device, a window or a range
    ///
    /// Clearing a whole device leaves its read-only windows unchanged.
    #[command(after_help = clear::EXAMPLE)]
    Clear(Clear),
    /// Zero a device and store `hello, user!` at its start
    #[command(after_help = "Example:\n  chrmem reset chrmem0")]
    Reset {
        #[command(flatten)]
        device: NamedDevice,
    },
    /// Wake everyone who waits for a device to change
    ///
    /// For changes made through a mapping, which the driver cannot see unless the window is tracked.
    #[command(after_help = "Example:\n  chrmem notify camera")]
    Notify {
        #[command(flatten)]
        device: Device,
    },
    /// Wait until a device changes, and print its new generation
    ///
    /// A change is a clear, a reset, a write or a notify, but not a store through a mapping, unless its
    /// window is tracked.
    #[command(after_help = wait::EXAMPLE)]
    Wait(Wait),
    /// Show which pages of a device have changed
    ///
    /// Knows the windows that were created with track=1: what is stored into them through mappings,
    /// written or cleared. Prints one line for each run of pages, then the generation to go on with.
    /// A page can be shown once too often; changes made by hardware are not shown.
    #[command(after_help = changes::EXAMPLE)]
    Changes(changes::Arguments),
    /// Watch a device change, in full screen
    ///
    /// Highlights bytes that change, including those stored through mappings. Reads the device and
    /// maps nothing. Where windows are tracked, the generation also counts stores, and only pages that
    /// have changed are read.
    #[command(after_help = watch::EXAMPLE)]
    Watch(watch::Arguments),
    /// Print a file, or a part of it, through a mapping
    ///
    /// Prints exactly the bytes that were asked for. A file that cannot be mapped is read: a pipe, a
    /// device such as /dev/zero, a file of /proc. A file that is truncated meanwhile is an error.
    #[command(after_help = cat::EXAMPLE)]
    Cat(Cat),
    /// Print a Container Device Interface (CDI) specification
    ///
    /// podman, docker and containerd read it from /etc/cdi. It names the devices that exist now:
    /// print it again after that changes.
    #[command(after_help = cdi::EXAMPLE)]
    Cdi(Cdi),
    /// Measure the cost of mappings, copies and calls
    ///
    /// Compares the driver with memfd, hugetlb, dma-heap, udmabuf, eventfd and /dev/null in the same
    /// run. Needs root, because it creates devices. Figures are instructions where the clock counts
    /// them, as that of an emulator can, and nanoseconds elsewhere; the report names the unit.
    #[command(after_help = bench::EXAMPLE)]
    Bench(Bench),
    /// Generate shell completions
    #[command(after_help = completions::EXAMPLE)]
    Completions(Completions),
    /// Print the manual page, or write all manual pages
    #[command(after_help = man::EXAMPLE)]
    Man(Pages),
}

/// The exit statuses of all commands.
pub(crate) const EXIT_STATUS: &[(u8, &str)] = &[
    (0, "success"),
    (1, "error"),
    (2, "usage error"),
    (TimedOut::STATUS, "the time of wait --timeout is over"),
];

/// They as the help shows them.
fn exit_status() -> String {
    let line = |(status, meaning): &(u8, &str)| format!("\n  {status:<3}  {meaning}");
    let lines: String = EXIT_STATUS.iter().map(line).collect();
    format!("Exit status:{lines}")
}

const DEMO_EXAMPLE: &str = "\
Example, on a device that was just created:
  $ chrmem demo chrmem0
  Before Write, shm = ****************************************
  After write, shm = User write to share memory!
  After clear, shm =
  After reset, shm = hello, user!";
