// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mapping, touching, unmapping of page frames, beside the same of ordinary pages.

use super::maps::LARGE;
use super::memory::{Made, Memory};
use super::Bench;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::Path;

/// What goes over the memory of a device.
pub(crate) const BAR: &str = "map, touch, unmap a BAR";

/// What goes over DMA memory.
pub(crate) const DMA: &str = "map, touch, unmap DMA memory";

/// The largest DMA memory that there is on any machine.
const RUN: u64 = 4 << 20;

/// Measures both; of `bar`, a file such as `/sys/bus/pci/devices/0000:00:05.0/resource2`, the first bytes are overwritten.
pub(super) fn measure(bench: &mut Bench<'_>, bar: Option<&Path>) -> Result<()> {
    match bar {
        None => bench.leave_out(BAR, "overwrites it: --bar says which may be"),
        Some(bar) => {
            let address = address(bar, LARGE)?;
            let settings = [("memory", "physical"), ("address", address.as_str())];
            beside_pages(bench, BAR, LARGE, &settings)?;
        }
    }
    // Where memory was set aside at boot (`cma=`), there is more of it.
    for size in [LARGE, RUN] {
        match beside_pages(bench, DMA, size, &[("memory", "dma")]) {
            Ok(()) => return Ok(()),
            Err(error) if size == RUN => return Err(error),
            Err(error) => bench.leave_out(DMA, format_args!("{error:#}")),
        }
    }
    Ok(())
}

/// Measures a window with these settings, and one of pages.
fn beside_pages(
    bench: &mut Bench<'_>,
    what: &str,
    size: u64,
    settings: &[(&'static str, &str)],
) -> Result<()> {
    for (who, settings) in [("chrmem", settings), ("pages", &[])] {
        let memory = Memory::of(Made::with(size, settings)?, size)?;
        bench.take(what, who, Some(size), || {
            super::memory::touch(&memory.map(size)?);
            Ok(())
        })?;
    }
    Ok(())
}

/// The physical address of a BAR, which must have so many bytes.
fn address(file: &Path, size: u64) -> Result<String> {
    let number = || {
        let name = file.file_name()?.to_str()?;
        name.strip_prefix("resource")?.parse::<usize>().ok()
    };
    let number = number().with_context(|| format!("{} is not a BAR", file.display()))?;
    let list = file.with_file_name("resource");
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let line = text.lines().nth(number).unwrap_or_default();
    let mut words = line.split(' ').map(|word| {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        u64::from_str_radix(digits, 16).unwrap_or(0)
    });
    let (start, last) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    if last.saturating_sub(start) < size - 1 {
        bail!("{} has fewer than {size} bytes", file.display());
    }
    Ok(format!("{start:#x}"))
}
