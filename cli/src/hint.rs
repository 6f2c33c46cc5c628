// SPDX-License-Identifier: MIT OR Apache-2.0

//! What to do about an error.

use chrmem::Errno;
use std::fmt;

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
    Some(match error.downcast_ref::<chrmem::Error>()?.errno()? {
        Errno::NOENT => {
            "is the module loaded? `lsmod | grep chrmem` tells, `chrmem list` shows its devices"
        }
        Errno::ACCESS | Errno::PERM => {
            "device nodes are root's: try with sudo, or have root change the node's mode"
        }
        Errno::NXIO | Errno::NODEV => {
            "nothing is behind this node: load the module, and compare the node's major number \
             (`ls -l`) with `grep chrmem_dev /proc/devices`"
        }
        Errno::NOTTY => "this file is not a chrmem device",
        _ => return None,
    })
}
