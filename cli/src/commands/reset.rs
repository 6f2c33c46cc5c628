// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem reset`

use crate::node::NamedDevice;
use anyhow::Result;

pub(crate) fn run(device: &NamedDevice) -> Result<()> {
    Ok(device.open()?.reset()?)
}
