// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a random device is like.

use crate::folder::{Folder, RAM_HAS_MODES};
use crate::pci::Pci;
use crate::sys::{HUGE, PAGE, PAGE64};
use fastrand::Rng;

/// The end of the largest device that there can be.
pub(crate) const END_MAX: u64 = i64::MAX as u64 & !(PAGE64 - 1);

/// Bytes of the memory that the machine's `ivshmem` device has in its BAR 2.
const BAR: usize = 4 << 20;

/// A window.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) offset: u64,
    pub(crate) size: usize,
    pub(crate) writable: bool,
    /// Whether it is RAM, which can be exported.
    pub(crate) ram: bool,
    /// Whether it consists of ordinary pages, and not of page frames.
    pub(crate) pages: bool,
    /// Whether a process can have a copy of its own.
    pub(crate) private: bool,
    /// Whether stores into it are noticed.
    pub(crate) tracked: bool,
    /// The byte it is filled with.
    pub(crate) fill: u8,
    /// What is written into configfs for it.
    settings: String,
}

impl Window {
    /// The first offset behind it.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.size as u64
    }
}

/// Windows of all kinds, from one to five, wherever they can lie.
pub(crate) fn random(random: &mut Rng) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let huge = random.u8(0..4) == 0;
    let mut in_bar = 0;
    let mut offset = 0;
    for index in 0..random.usize(1..=5) {
        if random.u8(0..5) < 2 {
            offset += (random.usize(1..4) * PAGE) as u64;
        }
        let mut size = random.usize(1..=6) * PAGE;
        let mut kind =
            ["pages", "pages", "pages", "contiguous", "dma", "physical"][random.usize(0..6)];
        if huge && index == 0 {
            (kind, size) = ("pages", HUGE + random.usize(0..3) * PAGE);
            // Where huge entries fit, and where they do not.
            offset = offset.next_multiple_of(HUGE as u64) * u64::from(random.bool());
        }
        let has_modes = kind == "physical" || kind != "dma" && RAM_HAS_MODES;
        let cache = match has_modes {
            true => ["cached", "cached", "writecombine", "noncached"][random.usize(0..4)],
            false => "cached",
        };
        let access = if random.u8(0..5) == 0 { "ro" } else { "rw" };
        // Of a range that is not RAM, 0 would say that it is left as it is.
        let fill = random.u8(1..);
        let mut settings =
            format!("size={size} memory={kind} cache={cache} access={access} fill={fill}");
        let private = matches!(kind, "pages" | "contiguous") && cache == "cached";
        let tracked = private && random.u8(0..3) == 0;
        settings += &format!(" track={}", u8::from(tracked));
        if kind == "physical" {
            in_bar += random.usize(0..3) * PAGE;
            assert!(in_bar + size <= BAR);
            let address = Pci::find(0x1af4, 0x1110).bar(2).start + in_bar as u64;
            settings += &format!(" address={address:#x}");
            in_bar += size;
        }
        windows.push(Window {
            offset,
            size,
            writable: access == "rw",
            ram: kind != "physical",
            pages: matches!(kind, "pages" | "contiguous"),
            private,
            tracked,
            fill,
            settings,
        });
        offset += size as u64;
    }
    // From the start, somewhere, or up to the very end.
    let shift = match random.u8(0..6) {
        0 => END_MAX - offset,
        1 => 1 << 32,
        2 => random.u64(0..1 << 40) & !(HUGE as u64 - 1),
        _ => 0,
    };
    for window in &mut windows {
        window.offset += shift;
    }
    windows
}

/// Builds the device.
pub(crate) fn build(name: &str, windows: &[Window]) -> Folder {
    let folder = Folder::new(name);
    for (index, window) in windows.iter().enumerate() {
        let name = format!("w{index}");
        folder.window(&name, &window.settings);
        folder.change(&name, &format!("offset={}", window.offset));
    }
    folder.build();
    folder
}
