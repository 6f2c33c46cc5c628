// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two processes that stream records through a device's memory: lines, from one terminal to another.
//!
//! ```console
//! # cargo run --example ring -- receive /dev/chrmem0 &
//! # cargo run --example ring -- send /dev/chrmem0 < /etc/os-release
//! ```
//!
//! The receiver makes the ring, so that it has to be there first; it ends when the sender has left.

use chrmem::ring::{self, Reader, Writer};
use chrmem::{Device, Mapping};
use std::error::Error;
use std::io::{stdin, stdout, Write};

/// The first window, and the device that wakes the other end.
fn open(path: &str) -> chrmem::Result<(Mapping, Device)> {
    // An open file of this process's own: who shares one takes the other's wake-ups.
    let device = Device::open(path)?;
    let memory = device.map(device.window(0)?.range())?;
    Ok((memory, device))
}

fn send(path: &str) -> Result<(), Box<dyn Error>> {
    let (memory, device) = open(path)?;
    let mut writer = Writer::attach(memory, device)?;
    for line in stdin().lines() {
        // Where the ring is full, this waits until the receiver has made room.
        writer.write(line?.as_bytes(), None)?;
    }
    // Dropped, the writer tells the reader that there is nothing more.
    Ok(())
}

fn receive(path: &str) -> Result<(), Box<dyn Error>> {
    let (memory, device) = open(path)?;
    ring::format(&memory)?;
    let mut reader = Reader::attach(memory, device)?;
    let mut line = Vec::new();
    let mut out = stdout().lock();
    while reader.read(&mut line, None)? {
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["send"] => send("/dev/chrmem0"),
        ["send", path] => send(path),
        ["receive"] => receive("/dev/chrmem0"),
        ["receive", path] => receive(path),
        _ => Err("what to do? `send` or `receive`, and a device".into()),
    }
}
