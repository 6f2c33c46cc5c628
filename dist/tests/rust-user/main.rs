// SPDX-License-Identifier: MIT OR Apache-2.0

//! What somebody writes who has the crate from a registry: maps each window, and sees its own stores in the device.

use chrmem::Device;
use std::os::unix::fs::FileExt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("which device?")?;
    let device = Device::open(&path)?;
    for window in device.windows()? {
        let memory = device.map(window.range())?;
        let text = format!("stored in {}", window.name);
        memory.copy_from(0, text.as_bytes())?;
        let mut read = vec![0; text.len()];
        std::fs::File::open(&path)?.read_exact_at(&mut read, window.range().start)?;
        assert_eq!(read, text.as_bytes());
        println!("{}: {} bytes, {text}", window.name, memory.len());
    }
    Ok(())
}
