// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the lab's trees are kept, and who may use them when.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use fs_err as fs;
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;

use crate::root;

/// The cache's directory.
pub(crate) fn dir() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let dir = set("CHRMEM_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("chrmem")))
        .or_else(|| Some(set("HOME")?.join(".cache/chrmem")))
        .context("no place for the lab: neither CHRMEM_CACHE nor HOME is set")?;
    fs::create_dir_all(&dir)?;
    Ok(fs::canonicalize(dir)?)
}

/// The directory that holds one directory for each recipe.
pub(crate) fn roots() -> Result<PathBuf> {
    Ok(dir()?.join("roots"))
}

/// The directory of the logs of steps.
pub(crate) fn logs() -> Result<PathBuf> {
    Ok(dir()?.join("log"))
}

/// A lock on a file, held until it is dropped.
pub(crate) struct Lock {
    file: fs::File,
}

impl Lock {
    /// Opens the lock file, without locking.
    fn open(path: &Path) -> Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        Ok(Self {
            file: fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)?,
        })
    }

    /// A lock that others may share; `what` says what they are doing who do not.
    pub(crate) fn shared(path: &Path, what: &str) -> Result<Self> {
        Self::open(path)?.wait(
            FlockOperation::LockShared,
            FlockOperation::NonBlockingLockShared,
            what,
        )
    }

    /// A lock for one alone.
    pub(crate) fn exclusive(path: &Path, what: &str) -> Result<Self> {
        Self::open(path)?.wait(
            FlockOperation::LockExclusive,
            FlockOperation::NonBlockingLockExclusive,
            what,
        )
    }

    /// A lock for one alone, if nobody has it.
    fn free(path: &Path) -> Result<Option<Self>> {
        let lock = Self::open(path)?;
        match flock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            result => Ok(result.map(|()| Some(lock))?),
        }
    }

    fn wait(self, operation: FlockOperation, at_once: FlockOperation, what: &str) -> Result<Self> {
        match flock(&self.file, at_once) {
            Err(Errno::WOULDBLOCK) => {
                eprintln!("lab: waiting for another cargo xtask that is {what}");
                flock(&self.file, operation)?;
            }
            result => result?,
        }
        Ok(self)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a program that another thread starts has a copy of the descriptor until it runs.
        // Unlocking cannot fail on a file that is open, and there would be nothing left to do about it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Removes every tree that no run is using.
pub(crate) fn clean() -> Result<ExitCode> {
    let roots = roots()?;
    fs::create_dir_all(&roots)?;
    for entry in fs::read_dir(&roots)? {
        let home = entry?.path();
        if !home.is_dir() {
            continue;
        }
        match Lock::free(&home.with_extension("lock"))? {
            Some(_lock) => {
                root::remove(&home)?;
                eprintln!("lab: removed {}", home.display());
            }
            None => eprintln!("lab: {} is in use", home.display()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::Lock;

    /// Another thread may be starting a program, which has a copy of every descriptor until it runs.
    #[test]
    fn a_dropped_lock_is_free_though_a_copy_of_its_descriptor_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::shared(&path, "testing").unwrap();
        let _copy = lock.file.file().try_clone().unwrap();
        assert!(Lock::free(&path).unwrap().is_none());
        drop(lock);
        assert!(Lock::free(&path).unwrap().is_some());
    }
}
