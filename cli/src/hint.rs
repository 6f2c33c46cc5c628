// SPDX-License-Identifier: MIT OR Apache-2.0

//! What to do about an error.

use chrmem::Errno;

/// Advice for whoever got `error`, if there is any.
pub(crate) fn of(error: &anyhow::Error) -> Option<&'static str> {
    Some(match error.downcast_ref::<chrmem::Error>()?.errno()? {
        Errno::NOENT => {
            "is the module loaded? `lsmod | grep chrmem` tells, `ls /dev/chrmem*` shows its devices"
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
