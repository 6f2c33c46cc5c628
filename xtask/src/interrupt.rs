// SPDX-License-Identifier: MIT OR Apache-2.0

//! What Ctrl-C and SIGTERM leave behind: nothing. Child processes end with this one by themselves; see `root.rs`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;

/// The directories to remove.
static DIRS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Takes the signals over.
pub(crate) fn install() -> Result<()> {
    Ok(ctrlc::set_handler(|| {
        if let Ok(dirs) = DIRS.lock() {
            for dir in dirs.iter() {
                let _ = std::fs::remove_dir_all(dir);
            }
        }
        // 128 and the number of SIGINT, as shells report it.
        std::process::exit(130);
    })?)
}

/// Has `dir` removed by an interrupt as well.
pub(crate) fn remove_on_exit(dir: &Path) {
    if let Ok(mut dirs) = DIRS.lock() {
        dirs.push(dir.to_owned());
    }
}
