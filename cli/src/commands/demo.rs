// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem demo`

use crate::node::NamedDevice;
use anyhow::{ensure, Result};
use chrmem::Mapping;
use std::io::Write;

pub(crate) fn run(device: &NamedDevice, out: &mut impl Write) -> Result<()> {
    let device = device.open()?;
    let window = device.window(0)?;
    ensure!(
        window.access.write,
        "the window {} is read-only",
        window.name
    );
    let memory = device.map(window.range())?;

    show("Before Write", &memory, out)?;
    memory.copy_from(0, b"User write to share memory!\0")?;
    show("After write", &memory, out)?;
    device.clear()?;
    show("After clear", &memory, out)?;
    device.reset()?;
    show("After reset", &memory, out)
}

/// Prints the C string that the memory starts with.
fn show(when: &str, memory: &Mapping, out: &mut impl Write) -> Result<()> {
    let text = memory.c_string(0)?;
    let blank = if text.is_empty() { "" } else { " " };
    writeln!(
        out,
        "{when}, shm ={blank}{}",
        String::from_utf8_lossy(&text)
    )?;
    Ok(())
}
