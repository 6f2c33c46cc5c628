// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem cat`

use crate::progress::Progress;
use crate::{hint, size};
use anyhow::{Context, Result};
use chrmem::{Errno, MapOptions};
use clap::Args;
use std::fs::File;
use std::io::{stdout, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem cat /var/log/syslog 1000 80
  chrmem cat disk.img 1M | strings";

/// So much is mapped at a time. Pages are not asked for ahead: they come from the page cache many at a
/// time when the kernel copies from them, while they are still in the processor's cache.
const CHUNK: u64 = 1 << 20;

/// What can be typed after `chrmem cat`.
#[derive(Args)]
pub(crate) struct Cat {
    /// A file that can be mapped: a regular file, a block device, a chrmem device
    file: PathBuf,
    /// Where to start; at the start if not given
    #[arg(value_parser = size::parse)]
    offset: Option<u64>,
    /// How many bytes; all up to the end if not given
    #[arg(value_parser = size::parse)]
    length: Option<u64>,
}

pub(crate) fn run(arguments: &Cat) -> Result<()> {
    let path = &arguments.file;
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let out = stdout();
    let range = range(arguments, &file)?;
    let mut progress = Progress::of_output(range.end - range.start);
    let mut at = range.start;
    while at < range.end {
        let end = (at / CHUNK + 1).saturating_mul(CHUNK).min(range.end);
        copy(&file, at..end, out.as_fd(), path)?;
        progress.add(end - at);
        at = end;
    }
    Ok(())
}

/// The bytes that were asked for, all of which the file has now.
fn range(arguments: &Cat, mut file: &File) -> Result<Range<u64>> {
    let start = arguments.offset.unwrap_or(0);
    let path = arguments.file.display();
    let size = file
        .seek(SeekFrom::End(0))
        .with_context(|| format!("{path} does not tell its size"))?;
    let rest = size
        .checked_sub(start)
        .with_context(|| format!("offset {start} is past the end of {path}, at {size}"))?;
    let length = arguments.length.unwrap_or(rest);
    anyhow::ensure!(
        length <= rest,
        "{length} bytes from offset {start} on run past the end of {path}, at {size}"
    );
    Ok(start..start + length)
}

/// Writes bytes of the file out of a mapping.
fn copy(file: &File, range: Range<u64>, out: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let mapping = MapOptions::new()
        .read_only()
        .range(range.clone())
        .map_file(file);
    let written = mapping.and_then(|mapping| mapping.write_to(out));
    // Behind its end, the last page of a file is zeroes, which are not its bytes.
    let size = (&*file).seek(SeekFrom::End(0)).unwrap_or(u64::MAX);
    written.map_err(|error| match &error {
        chrmem::Error::Gone { offset, .. } => {
            let end = range.start + *offset as u64;
            shrunk(path, end.min(size))
        }
        // It was longer when its size was asked for.
        chrmem::Error::PastEnd { .. } => shrunk(path, range.start),
        _ if error.errno() == Some(Errno::NODEV) => hint::with(
            error,
            "files of this kind cannot be mapped: `cat` and `dd` read them",
        ),
        // A chrmem device where there is no window, or across the end of one.
        _ if matches!(error.errno(), Some(Errno::NXIO | Errno::INVAL)) => hint::with(
            error,
            "`chrmem read --raw` takes the windows of a device one by one, `chrmem info` lists them",
        ),
        _ => error.into(),
    })?;
    match size < range.end {
        true => Err(shrunk(path, size)),
        false => Ok(()),
    }
}

/// The error of a file that ends earlier than it did.
fn shrunk(path: &Path, end: u64) -> anyhow::Error {
    anyhow::anyhow!(
        "{} became shorter while it was copied: all up to offset {end} is written",
        path.display()
    )
}
