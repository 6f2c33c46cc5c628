// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be typed.

use crate::commands::bench::{self, Bench};
use crate::commands::cat::{self, Cat};
use crate::commands::cdi::{self, Cdi};
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
use crate::commands::wait::{self, Wait};
use crate::commands::watch;
use crate::commands::write::{self, Write};
use crate::node::Device;
use clap::{Parser, Subcommand};

/// Direct access to memory that the kernel owns.
#[derive(Parser)]
#[command(
    name = "chrmem",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
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
    /// Say why chrmem does not work here, and what to do
    ///
    /// Looks at the kernel, the module, what is needed to build it, configfs and the devices. The
    /// exit status is 1 if something is wrong.
    #[command(after_help = "Example:\n  chrmem doctor")]
    Doctor(Doctor),
    /// Show who maps which window, and where
    ///
    /// Draws the windows of each device side by side, the larger the wider but not in proportion,
    /// and below them what each process maps of them, in light bars where it may not write, with the
    /// addresses. Mappings of exported buffers are not shown.
    #[command(after_help = maps::EXAMPLE)]
    Maps(Maps),
    /// Show what is in a device
    ///
    /// In hexadecimal, with offsets of the device, or as it is.
    #[command(after_help = read::EXAMPLE)]
    Read(Read),
    /// Put bytes into a device
    ///
    /// What is known to be too long is not begun; of a stream that is too long, the beginning is
    /// written.
    #[command(after_help = write::EXAMPLE)]
    Write(Write),
    /// Fill a device with a byte
    #[command(after_help = fill::EXAMPLE)]
    Fill(Fill),
    /// Zero a device, a window or some bytes
    ///
    /// To clear a whole device leaves its read-only windows as they are.
    #[command(after_help = clear::EXAMPLE)]
    Clear(Clear),
    /// Zero a device's memory and put `hello, user!` at its start
    #[command(after_help = "Example:\n  chrmem reset chrmem0")]
    Reset {
        #[command(flatten)]
        device: Device,
    },
    /// Tell those who wait for a device that it has changed
    ///
    /// For changes that were made through a mapping, which the driver cannot see.
    #[command(after_help = "Example:\n  chrmem notify camera")]
    Notify {
        #[command(flatten)]
        device: Device,
    },
    /// Wait until a device changes, and print its new generation
    ///
    /// A change is a clear, a reset, a write or a notify, but not what is stored through a mapping.
    #[command(after_help = wait::EXAMPLE)]
    Wait(Wait),
    /// Watch a device change, in the whole terminal
    ///
    /// Bytes that change are lit up, also those that are stored through mappings. Reads the device,
    /// and maps nothing of it.
    #[command(after_help = watch::EXAMPLE)]
    Watch(watch::Arguments),
    /// Print a file, or a part of it, through a mapping
    ///
    /// Prints exactly the bytes that were asked for. A file that cannot be mapped is read: a pipe, a
    /// device such as /dev/zero, a file of /proc. A file that is truncated meanwhile is an error.
    #[command(after_help = cat::EXAMPLE)]
    Cat(Cat),
    /// Print what makes container tools know the devices
    ///
    /// A specification of the Container Device Interface, which podman, docker and containerd read
    /// from /etc/cdi. It names the devices that there are now: print it again when that changes.
    #[command(after_help = cdi::EXAMPLE)]
    Cdi(Cdi),
    /// Measure what mappings, copies and calls cost
    ///
    /// Compares the driver with memfd, hugetlb, dma-heap, udmabuf, eventfd and /dev/null, in the same run.
    /// Makes devices of its own for that, which takes root. Where the clock counts instructions, as
    /// an emulator's can, figures are instructions, else nanoseconds; a report says which.
    #[command(after_help = bench::EXAMPLE)]
    Bench(Bench),
    /// Print what makes a shell complete these commands
    #[command(after_help = completions::EXAMPLE)]
    Completions(Completions),
    /// Print the manual page, or write all of them
    #[command(after_help = man::EXAMPLE)]
    Man(Pages),
}

const DEMO_EXAMPLE: &str = "\
Example, on a device that was just loaded:
  $ chrmem demo
  Before Write, shm = ****************************************
  After write, shm = User write to share memory!
  After clear, shm =
  After reset, shm = hello, user!";
