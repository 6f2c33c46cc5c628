// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem info`

use crate::cli::Device;
use anyhow::Result;
use comfy_table::{presets, Table};
use std::io::Write;

pub(crate) fn run(device: &Device, out: &mut impl Write) -> Result<()> {
    let device = device.open_read_only()?;
    let info = device.info()?;
    writeln!(out, "version     {}", info.version)?;
    writeln!(out, "size        {}", info.size)?;
    writeln!(out, "generation  {}", info.generation)?;
    writeln!(out, "windows     {}", info.windows)?;

    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "INDEX", "NAME", "OFFSET", "SIZE", "MEMORY", "CACHE", "ACCESS", "ADDRESS",
    ]);
    for window in device.windows()? {
        table.add_row([
            window.index.to_string(),
            window.name,
            window.offset.to_string(),
            window.size.to_string(),
            window.memory.to_string(),
            window.cache.to_string(),
            window.access.to_string(),
            window
                .address
                .map_or_else(|| "-".to_owned(), |address| format!("{address:#x}")),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    writeln!(out, "\n{}", table.trim_fmt())?;
    Ok(())
}
