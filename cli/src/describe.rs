// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is told of a device: the same in tables and as JSON.

use crate::fdinfo;
use crate::size::Exact;
use comfy_table::CellAlignment::{self, Left, Right};
use comfy_table::{presets, Table};
use serde::Serialize;
use std::fmt::Display;
use std::ops::Range;

/// A device that could be asked.
#[derive(Serialize)]
pub(crate) struct Description {
    /// Version of the driver's interface.
    pub(crate) version: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// The change counter.
    pub(crate) generation: u64,
    /// How many mappings it has at the moment; unknown where /proc is not readable.
    pub(crate) mapping_count: Option<u64>,
    /// Its windows, in order of offset.
    pub(crate) windows: Vec<Window>,
}

/// A window of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Window {
    /// Its place in the order of offsets.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Where in the device it starts.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// What its memory is.
    pub(crate) memory: String,
    /// How its mappings are cached.
    pub(crate) cache: String,
    /// What may be done with it.
    pub(crate) access: String,
    /// The physical or bus address.
    pub(crate) address: Option<u64>,
    /// Whether stores into it are noticed.
    pub(crate) tracked: bool,
    /// Whether it goes when its hardware does.
    pub(crate) revocable: bool,
    /// Whether it is gone.
    pub(crate) gone: bool,
}

impl Window {
    /// Offsets of the device.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.size)
    }
}

impl Description {
    /// Asks a device.
    pub(crate) fn of(device: &chrmem::Device) -> chrmem::Result<Self> {
        let info = device.info()?;
        Ok(Self {
            version: info.version,
            size: info.size,
            generation: info.generation,
            mapping_count: fdinfo::mappings(device),
            windows: device.windows()?.into_iter().map(Window::from).collect(),
        })
    }

    /// Its windows, one a line.
    pub(crate) fn table(&self) -> Table {
        let mut columns = vec![
            ("INDEX", Right),
            ("NAME", Left),
            ("OFFSET", Right),
            ("SIZE", Right),
            ("MEMORY", Left),
            ("CACHE", Left),
            ("ACCESS", Left),
            ("ADDRESS", Right),
        ];
        let has_tracked = self.windows.iter().any(|window| window.tracked);
        if has_tracked {
            columns.push(("TRACKED", Left));
        }
        let has_gone = self.windows.iter().any(|window| window.gone);
        if has_gone {
            columns.push(("GONE", Left));
        }
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let mut table = table(&columns);
        for window in &self.windows {
            let mut row = vec![
                window.index.to_string(),
                window.name.clone(),
                format!("{:#x}", window.offset),
                Exact(window.size).to_string(),
                window.memory.clone(),
                window.cache.clone(),
                window.access.clone(),
                or_dash(window.address.map(|it| format!("{it:#x}"))),
            ];
            if has_tracked {
                row.push(yes(window.tracked));
            }
            if has_gone {
                row.push(yes(window.gone));
            }
            table.add_row(row);
        }
        table
    }
}

impl From<chrmem::Window> for Window {
    fn from(window: chrmem::Window) -> Self {
        Self {
            index: window.index,
            name: window.name,
            offset: window.offset,
            size: window.size,
            memory: window.memory.to_string(),
            cache: window.cache.to_string(),
            access: window.access.to_string(),
            address: window.address,
            tracked: window.tracked,
            revocable: window.revocable,
            gone: window.gone,
        }
    }
}

/// An empty table: the heading of each column, and to which side it is set.
pub(crate) fn table(columns: &[(&str, CellAlignment)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|(heading, _)| heading));
    for (column, (_, side)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2)).set_cell_alignment(*side);
    }
    table
}

/// The first of some windows, name and size of each, and how many more there are.
pub(crate) fn in_a_line(windows: &[Window]) -> String {
    const SHOWN: usize = 4;
    let mut words: Vec<_> = windows
        .iter()
        .take(SHOWN)
        .map(|window| format!("{}:{}", window.name, Exact(window.size)))
        .collect();
    if let Some(more) = windows.len().checked_sub(SHOWN).filter(|it| *it > 0) {
        words.push(format!("and {more} more"));
    }
    words.join(" ")
}

/// A value, or a dash where there is none.
pub(crate) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
