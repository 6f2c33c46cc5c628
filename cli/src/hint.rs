// SPDX-License-Identifier: MIT OR Apache-2.0

//! What to do about an error.

use chrmem::Errno;
use std::{fmt, io};

/// An error together with advice of its own.
#[derive(Debug)]
struct Advised {
    error: anyhow::Error,
    advice: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Advised {}

/// The same error, with advice for whoever gets it.
pub(crate) fn with(error: impl Into<anyhow::Error>, advice: impl Into<String>) -> anyhow::Error {
    let (error, advice) = (error.into(), advice.into());
    Advised { error, advice }.into()
}

/// Advice for whoever got `error`, if there is any.
pub(crate) fn of(error: &anyhow::Error) -> Option<&str> {
    if let Some(advised) = error.downcast_ref::<Advised>() {
        return Some(&advised.advice);
    }
    let error = error.downcast_ref().or_else(|| {
        // One that had to pass as an error of a stream.
        let stream: &io::Error = error.downcast_ref()?;
        stream.get_ref()?.downcast_ref::<chrmem::Error>()
    })?;
    Some(match error.errno()? {
        Errno::NODEV => "the device was destroyed while it was open, or its hardware was unplugged or unbound from its \
            driver: `chrmem info` shows windows that are gone; to have them back, destroy the device and create it again",
        Errno::NOTTY => "`chrmem list` shows the devices",
        _ => return None,
    })
}

/// Advice for who may not open a device.
pub(crate) fn denied() -> &'static str {
    match is_root() {
        true => {
            "root may open it, unless the file system is mounted with nodev, or a container was not given \
             the device: `chrmem cdi` describes the devices for containers"
        }
        false => "it belongs to root, or to the group chrmem: try with sudo, or join the group",
    }
}

/// Whether the user is root already.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
