// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem notify`

use crate::node::Device;
use anyhow::Result;

pub(crate) fn run(device: &Device) -> Result<()> {
    Ok(device.open()?.notify()?)
}
