// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waking the other end of a ring.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::wait;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::time::Duration;

/// How the two ends of a [ring](crate::ring) wake each other: each has a bell of its own, which the other
/// end hears.
///
/// A bell that is rung while nobody waits is heard by the next wait. Extra wake-ups are harmless.
///
/// ```
/// use chrmem::{Bell, EventBell};
/// use std::time::Duration;
///
/// let (mine, theirs) = EventBell::pair()?;
/// theirs.ring()?;
/// assert!(mine.wait(None)?);
/// assert!(!mine.wait(Some(Duration::ZERO))?);
/// # Ok::<(), chrmem::Error>(())
/// ```
pub trait Bell {
    /// Wakes the other end, from the wait it is in or the next one.
    ///
    /// # Errors
    ///
    /// What the kernel says, if it cannot be.
    fn ring(&self) -> Result<()>;

    /// Waits until the other end has rung since the last wait, for at most `timeout` if there is one; `false` if
    /// that time is over. May wake spuriously.
    ///
    /// # Errors
    ///
    /// What the kernel says, if the bell is not there any more.
    fn wait(&self, timeout: Option<Duration>) -> Result<bool>;

    /// A file that both ends have, open for reading and writing: its locks show which end lives, as
    /// [`ring`](crate::ring) says. Without one, an end that was killed is waited for.
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// By the device's generation: everyone who has the device open hears it. Each end needs an open file
/// of its own, as two that share one take each other's wake-ups.
impl Bell for Device {
    fn ring(&self) -> Result<()> {
        self.notify()
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        Ok(Device::wait(self, timeout)?.is_some())
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

/// A bell made of two eventfds, one for each direction: for rings where there is no device.
///
/// ```
/// let (mine, theirs) = chrmem::EventBell::pair()?;
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Debug)]
pub struct EventBell {
    heard: OwnedFd,
    rung: OwnedFd,
    file: Option<OwnedFd>,
}

impl EventBell {
    /// Two bells that hear each other.
    ///
    /// # Errors
    ///
    /// `MFILE` if the process has too many files open.
    ///
    /// ```
    /// let (for_the_writer, for_the_reader) = chrmem::EventBell::pair()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn pair() -> Result<(Self, Self)> {
        let clone = |fd: &OwnedFd| fd.try_clone().map_err(|_| refused("make", Errno::MFILE));
        let (one, other) = (event()?, event()?);
        let second = Self {
            heard: clone(&other)?,
            rung: clone(&one)?,
            file: None,
        };
        let first = Self {
            heard: one,
            rung: other,
            file: None,
        };
        Ok((first, second))
    }

    /// A bell of two eventfds that came from elsewhere: inherited, or received over a socket. `heard` is
    /// the one that the other end writes to.
    ///
    /// ```
    /// use chrmem::EventBell;
    /// use rustix::event::{eventfd, EventfdFlags};
    ///
    /// let [one, other] = [0, 0].map(|count| eventfd(count, EventfdFlags::CLOEXEC));
    /// let bell = EventBell::new(one?, other?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(heard: OwnedFd, rung: OwnedFd) -> Self {
        Self {
            heard,
            rung,
            file: None,
        }
    }

    /// The same bell with a file that both ends have, such as the memfd that the ring is in, so that an end which
    /// was killed is noticed. The other end's bell must have the same file.
    ///
    /// ```
    /// use rustix::fs::{memfd_create, MemfdFlags};
    ///
    /// let memory = memfd_create("ring", MemfdFlags::CLOEXEC)?;
    /// let (mine, theirs) = chrmem::EventBell::pair()?;
    /// let mine = mine.with_file(memory.try_clone()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_file(self, file: OwnedFd) -> Self {
        Self {
            file: Some(file),
            ..self
        }
    }
}

impl Bell for EventBell {
    fn ring(&self) -> Result<()> {
        match rustix::io::write(&self.rung, &1_u64.to_ne_bytes()) {
            // It has been rung so often already that it cannot count further.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(refused("ring", errno)),
        }
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        let refused = |errno| refused("wait for", errno);
        if !wait::readable(&self.heard, timeout).map_err(refused)? {
            return Ok(false);
        }
        match rustix::io::read(&self.heard, &mut [0; 8]) {
            // Where two wait for one bell, it is the other who heard it.
            Ok(_) | Err(Errno::AGAIN) => Ok(true),
            Err(errno) => Err(refused(errno)),
        }
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }
}

/// Lends the eventfd that is readable once the other end has rung, for `epoll` and its like.
impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

/// An eventfd that nobody has written to.
fn event() -> Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| refused("make", errno))
}

fn refused(tried: &str, errno: Errno) -> Error {
    Error::Refused {
        tried: format!("{tried} a bell of eventfds"),
        errno,
    }
}
