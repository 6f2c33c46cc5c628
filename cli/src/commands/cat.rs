// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem cat`

use crate::progress::Progress;
use crate::{hint, size};
use anyhow::{bail, ensure, Context, Result};
use chrmem::{Errno, MapOptions};
use clap::Args;
use rustix::fs::{FileType, Stat};
use std::fs::File;
use std::io::{stdout, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
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
    /// The file: it is mapped where that is possible, and read otherwise
    file: PathBuf,
    /// Where to start [default: the start of the file]
    #[arg(value_parser = size::parse, allow_hyphen_values = true)]
    offset: Option<u64>,
    /// How many bytes [default: all up to the end]
    #[arg(value_parser = size::parse, allow_hyphen_values = true)]
    length: Option<u64>,
}

pub(crate) fn run(arguments: &Cat) -> Result<()> {
    let input = Input::open(&arguments.file)?;
    let start = arguments.offset.unwrap_or(0);
    match input.size()? {
        Some(size) => input.print_mapped(start, arguments.length, size),
        None => input.print_read(start, arguments.length),
    }
}

/// A file to print.
struct Input<'a> {
    path: &'a Path,
    file: File,
    about: Stat,
}

impl<'a> Input<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let context = || format!("cannot open {}", path.display());
        let file = File::open(path).with_context(context)?;
        let about = rustix::fs::fstat(&file).with_context(context)?;
        ensure!(
            FileType::from_raw_mode(about.st_mode) != FileType::Directory,
            "{} is a directory",
            path.display()
        );
        Ok(Self { path, file, about })
    }

    /// The size of a file that can be mapped. `None` for all others: pipes and terminals, devices such
    /// as /dev/zero, and files of /proc and /sys, whose size in the file system is not what they have.
    fn size(&self) -> Result<Option<u64>> {
        let mappable = match FileType::from_raw_mode(self.about.st_mode) {
            FileType::RegularFile => self.about.st_size > 0,
            FileType::BlockDevice => true,
            FileType::CharacterDevice => self.is_chrmem(),
            _ => false,
        };
        if !mappable {
            return Ok(None);
        }
        let size = (&self.file)
            .seek(SeekFrom::End(0))
            .with_context(|| format!("cannot ask for the size of {}", self.path.display()))?;
        let first = MapOptions::new().read_only().range(..1);
        Ok(match first.map_file(&self.file) {
            Err(error) if error.errno() == Some(Errno::NODEV) => None,
            // Other errors are those of the range that was asked for.
            _ => Some(size),
        })
    }

    /// Whether it is a device of the driver.
    fn is_chrmem(&self) -> bool {
        crate::fdinfo::mappings(&self.file).is_some()
    }

    /// Prints exactly the bytes that were asked for, out of mappings.
    fn print_mapped(&self, start: u64, length: Option<u64>, size: u64) -> Result<()> {
        let path = self.path.display();
        let rest = size
            .checked_sub(start)
            .with_context(|| format!("offset {start} is past the end of {path}, at {size}"))?;
        let length = length.unwrap_or(rest);
        ensure!(
            length <= rest,
            "{length} bytes from offset {start} on run past the end of {path}, at {size}"
        );
        ensure!(
            length == 0 || !self.is_output(),
            "{path} is also the output"
        );
        let range = start..start + length;
        let mut progress = Progress::of_output(length);
        let mut at = range.start;
        while at < range.end {
            let end = (at / CHUNK + 1).saturating_mul(CHUNK).min(range.end);
            self.print_chunk(at..end, start)?;
            progress.add(end - at);
            at = end;
        }
        Ok(())
    }

    /// Whether standard output is the same file, which would grow while it is read.
    fn is_output(&self) -> bool {
        let about = &self.about;
        let same = |out: Stat| (out.st_dev, out.st_ino) == (about.st_dev, about.st_ino);
        FileType::from_raw_mode(about.st_mode) != FileType::CharacterDevice
            && rustix::fs::fstat(stdout()).is_ok_and(same)
    }

    /// Prints bytes of the file out of a mapping; all from `start` on up to them is printed already.
    fn print_chunk(&self, range: Range<u64>, start: u64) -> Result<()> {
        let mapping = MapOptions::new()
            .read_only()
            .range(range.clone())
            .map_file(&self.file);
        let written = mapping.and_then(|mapping| mapping.write_to(stdout().as_fd()));
        let size = (&self.file).seek(SeekFrom::End(0)).unwrap_or(u64::MAX);
        let shrunk = |end: u64| {
            anyhow::anyhow!(
                "{} was truncated to {size} bytes while it was copied: {} bytes are written{}",
                self.path.display(),
                end - start,
                // The last page of a file that can be mapped is zeroes behind the file's end.
                if end > size {
                    ", the last of which may be zeroes"
                } else {
                    ""
                }
            )
        };
        written.map_err(|error| match &error {
            chrmem::Error::Gone { offset, .. } if size < range.end => {
                shrunk(range.start + *offset as u64)
            }
            // It was longer when its size was asked for.
            chrmem::Error::PastEnd { .. } => shrunk(range.start),
            // A chrmem device where there is no window, or across the end of one.
            _ if matches!(error.errno(), Some(Errno::NXIO | Errno::INVAL)) => hint::with(
                error,
                "`chrmem read --raw` takes the windows of a device one by one, `chrmem info` lists them",
            ),
            _ => error.into(),
        })?;
        match size < range.end {
            true => Err(shrunk(range.end)),
            false => Ok(()),
        }
    }

    /// Prints what read(2) gives: from `start` on, up to `length` bytes or the end.
    fn print_read(&self, start: u64, length: Option<u64>) -> Result<()> {
        let path = self.path.display();
        let is_regular = FileType::from_raw_mode(self.about.st_mode) == FileType::RegularFile;
        if is_regular
            && start > 0
            && self
                .file
                .read_at(&mut [0], start - 1)
                .is_ok_and(|it| it == 0)
        {
            bail!("offset {start} is past the end of {path}");
        }
        // A device may take any offset and stay where it is.
        let mut skip = match (&self.file).seek(SeekFrom::Start(start)) {
            Ok(at) if at == start => 0,
            _ => start,
        };
        let mut rest = length.unwrap_or(u64::MAX);
        let mut out = stdout().lock();
        // Always the whole of it is offered: /dev/kmsg has no part of a record for a smaller one.
        let mut chunk = vec![0; CHUNK as usize];
        while rest > 0 {
            let mut bytes = match (&self.file).read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => &chunk[..count],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Without its kind: what the output answers to a reader who left is something else.
                Err(error) => bail!("cannot read {path}: {error}"),
            };
            let skipped = first(bytes, skip).len();
            bytes = first(&bytes[skipped..], rest);
            out.write_all(bytes)?;
            out.flush()?;
            skip -= skipped as u64;
            rest -= bytes.len() as u64;
        }
        match length {
            Some(length) if rest > 0 => bail!(
                "{path} ends after {} of {length} bytes from offset {start} on, which are written",
                length - rest
            ),
            None if skip > 0 => bail!(
                "offset {start} is past the end of {path}, at {}",
                start - skip
            ),
            _ => Ok(()),
        }
    }
}

/// As many bytes as there are, but not more than `most`.
fn first(bytes: &[u8], most: u64) -> &[u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    &bytes[..bytes.len().min(most)]
}
