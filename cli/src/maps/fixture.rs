// SPDX-License-Identifier: MIT OR Apache-2.0

//! Devices for tests of pictures.

use super::{Mapped, Mapping};
use crate::describe::Window;

pub(crate) fn window(name: &str, offset: u64, size: u64) -> Window {
    Window {
        index: 0,
        name: name.to_owned(),
        offset,
        size,
        memory: "pages".to_owned(),
        cache: "cached".to_owned(),
        access: "rw".to_owned(),
        address: None,
        tracked: false,
        revocable: false,
        gone: false,
    }
}

pub(crate) fn mapping(
    pid: i32,
    process: &str,
    offset: u64,
    size: u64,
    permissions: &str,
) -> Mapping {
    Mapping {
        pid,
        process: process.to_owned(),
        address: 0x7f12_3456_0000 + offset,
        size,
        offset,
        permissions: permissions.to_owned(),
        window: None,
    }
}

/// A device with a hole, mapped by three processes; one that nobody maps; one that is gone.
pub(crate) fn devices() -> Vec<Mapped> {
    let camera = Mapped::with(
        "/dev/chrmem-camera".to_owned(),
        false,
        Some(vec![
            window("header", 0, 4096),
            window("frames", 16 << 20, 16 << 20),
            window("a-rather-long-name", 32 << 20, 64 << 10),
        ]),
        vec![
            mapping(4711, "viewer\x1b[2J", 16 << 20, 16 << 20, "r--s"),
            mapping(812, "capture", 0, 4096, "rw-s"),
            mapping(812, "capture", 20 << 20, 4 << 20, "rw-s"),
            mapping(
                4_194_303,
                "a-long-process-name",
                (32 << 20) + 4096,
                4096,
                "rw-p",
            ),
        ],
    );
    let plain = Mapped::with(
        "/dev/chrmem0".to_owned(),
        false,
        Some(vec![window("buffer", 0, 4096)]),
        Vec::new(),
    );
    let gone = Mapped::with(
        "/dev/chrmem-old".to_owned(),
        true,
        None,
        vec![mapping(1, "init", 4096, 8192, "rw-s")],
    );
    vec![camera, plain, gone]
}
