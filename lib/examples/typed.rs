// SPDX-License-Identifier: MIT OR Apache-2.0

//! A window as a header and an array of records, with a counter that others count with.
//!
//! ```console
//! # cargo run --example typed -- /dev/chrmem0
//! visitor number 1; 255 samples, the loudest on channel 4 with 0.9997929
//! ```
//!
//! Without an argument it uses memory of its own, and no device is needed.

use chrmem::zerocopy::little_endian::{F32, U16, U32};
use chrmem::{Device, Mapping};
use std::error::Error;
use std::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What the window starts with. Its counter is counted as an atomic.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    visitors: U32,
    reserved: [u8; 8],
}

/// One record, as hardware or another language would lay it out.
#[derive(FromBytes, IntoBytes, Immutable, Clone, Copy)]
#[repr(C)]
struct Sample {
    channel: U16,
    flags: U16,
    level: F32,
    time: [U32; 2],
}

const MAGIC: [u8; 4] = *b"smpl";

fn main() -> Result<(), Box<dyn Error>> {
    let memory = match std::env::args().nth(1) {
        Some(path) => {
            let device = Device::open(path)?;
            device.map(device.window(0)?.range())?
        }
        None => Mapping::anonymous(4096)?,
    };

    // The header, copied out and in: others may write to it at any time.
    let header: Header = memory.read(0)?;
    if header.magic != MAGIC {
        memory.all().write(
            0,
            &Header {
                magic: MAGIC,
                visitors: 0.into(),
                reserved: [0; 8],
            },
        )?;
    }
    // Two that count at the same time lose no count.
    let visitors = memory.atomic::<u32>(4)?.fetch_add(1, Ordering::Relaxed) + 1;

    // Everything behind it, as an array whose bounds were checked once.
    let samples = memory.view(size_of::<Header>()..)?.array::<Sample>();
    for index in 0..samples.len() {
        let phase = index as f32 / 10.0;
        let sample = Sample {
            channel: U16::new((index % 8) as u16),
            flags: U16::ZERO,
            level: F32::new(phase.sin()),
            time: [U32::new(index as u32), U32::ZERO],
        };
        samples.set(index, &sample)?;
    }
    let mut loudest = samples.get(0)?;
    for sample in samples.iter() {
        let sample = sample?;
        if sample.level.get() > loudest.level.get() {
            loudest = sample;
        }
    }
    println!(
        "visitor number {visitors}; {} samples, the loudest on channel {} with {}",
        samples.len(),
        loudest.channel,
        loudest.level
    );
    Ok(())
}
