// SPDX-License-Identifier: MIT OR Apache-2.0

//! What Ctrl-C and SIGTERM leave behind: nothing. Child processes end with this one by themselves; see `root.rs`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;

/// The directory to remove.
static DIR: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Takes the signals over.
pub(crate) fn install() -> Result<()> {
    Ok(ctrlc::set_handler(|| {
        if let Ok(Some(dir)) = DIR.lock().map(|mut dir| dir.take()) {
            let _ = std::fs::remove_dir_all(dir);
        }
        // 128 and the number of SIGINT, as shells report it.
        std::process::exit(130);
    })?)
}

/// Has `dir` removed by an interrupt as well.
pub(crate) fn remove_on_exit(dir: &Path) {
    if let Ok(mut slot) = DIR.lock() {
        *slot = Some(dir.to_owned());
    }
}
