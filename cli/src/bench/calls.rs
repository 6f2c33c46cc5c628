// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls that carry no data, beside the cheapest of their kind.

use super::memory::{node, Made};
use super::Bench;
use anyhow::{Context, Result};
use chrmem::{Bell, Device, EventBell};
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{open, Mode, OFlags};
use rustix::process::nice;
use std::io::{stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command};

/// Measures all of them.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let made = Made::new(4096)?;
    let device = made.open()?;
    let null = node("/dev/null")?;
    bench.take("ioctl", "chrmem INFO", None, || {
        device.info()?;
        Ok(())
    })?;
    bench.take("ioctl", "/dev/null, failing", None, || {
        // One that goes all the way to the driver, which has none.
        let _ = rustix::termios::tcgetwinsize(&null);
        Ok(())
    })?;
    for (who, path) in [
        ("chrmem", made.node().as_path()),
        ("/dev/null", Path::new("/dev/null")),
    ] {
        bench.take("open and close", who, None, || {
            open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            Ok(())
        })?;
    }
    let event = eventfd(0, EventfdFlags::CLOEXEC)?;
    bench.take("notify", "chrmem", None, || Ok(device.notify()?))?;
    bench.take("notify", "eventfd", None, || {
        rustix::io::write(&event, &1_u64.to_ne_bytes())?;
        Ok(())
    })?;
    for (who, fd) in [("chrmem", device.as_fd()), ("eventfd", event.as_fd())] {
        bench.take("poll", who, None, || {
            let now = Timespec::default();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now))?;
            Ok(())
        })?;
    }
    round_trips(bench)
}

/// A notification to another process, and its answer.
fn round_trips(bench: &mut Bench<'_>) -> Result<()> {
    let (there, back) = (Made::new(4096)?, Made::new(4096)?);
    let (call, answer) = (there.open()?, back.open()?);
    let other = Other::start(Kind::Devices, there.open()?.into(), back.open()?.into())?;
    bench.take("notify and be answered", "chrmem", None, || {
        call.notify()?;
        answer.wait(None)?;
        Ok(())
    })?;
    drop(other);
    let [there, back] = [0, 0].map(|count| eventfd(count, EventfdFlags::NONBLOCK));
    let (there, back) = (there?, back?);
    let other = Other::start(Kind::Events, there.try_clone()?, back.try_clone()?)?;
    let bell = EventBell::new(back, there);
    bench.take("notify and be answered", "eventfd", None, || {
        bell.ring()?;
        bell.wait(None)?;
        Ok(())
    })?;
    drop(other);
    Ok(())
}

/// What the other process hears and rings.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Kind {
    Devices,
    Events,
    /// Stores into a tracked window are heard.
    Tracked,
}

/// Another process, which answers every notification; ended when dropped.
pub(super) struct Other(Child);

impl Other {
    /// Starts one that hears `heard` and rings `rung`.
    pub(super) fn start(kind: Kind, heard: OwnedFd, rung: OwnedFd) -> Result<Self> {
        let kind = match kind {
            Kind::Devices => "devices",
            Kind::Events => "events",
            Kind::Tracked => "tracked",
        };
        let program = std::env::current_exe().context("cannot find this program")?;
        let child = Command::new(program)
            .args(["bench", "--answer", kind])
            .stdin(heard)
            .stdout(rung)
            .spawn();
        Ok(Self(child.context("cannot start another process")?))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // One that has ended by itself has done so with an error that it told.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the other process does.
pub(crate) fn answer(kind: Kind) -> Result<()> {
    // It does not take the processor from whoever wakes it: which of the two comes first is the same each time then.
    nice(19)?;
    let heard = stdin().as_fd().try_clone_to_owned()?;
    let rung = stdout().as_fd().try_clone_to_owned()?;
    match kind {
        Kind::Devices => {
            let (heard, rung) = (Device::try_from(heard)?, Device::try_from(rung)?);
            while heard.wait(None)?.is_some() {
                rung.ring()?;
            }
        }
        Kind::Tracked => {
            let (heard, rung) = (Device::try_from(heard)?, Device::try_from(rung)?);
            for changes in heard.watch_changes(0) {
                changes?;
                rung.ring()?;
            }
        }
        Kind::Events => {
            let bell = EventBell::new(heard, rung);
            while bell.wait(None)? {
                bell.ring()?;
            }
        }
    }
    Ok(())
}
