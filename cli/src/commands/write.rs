// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem write`

use crate::address::{Address, Place};
use crate::byte;
use crate::progress::Progress;
use crate::target::{Target, Via};
use anyhow::{bail, ensure, Context, Result};
use clap::Args;
use std::fs::File;
use std::io::{self, stdin, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Examples:
  chrmem write chrmem0 'hello, kernel!'
  chrmem write camera:header+8 --hex '00 01 ff'
  chrmem write camera:frames --file picture.raw
  head -c 16M /dev/urandom | chrmem write camera:frames --via mmap";

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// What can be typed after `chrmem write`.
#[derive(Args)]
pub(crate) struct Write {
    /// Where: DEVICE, DEVICE:WINDOW, or DEVICE:WINDOW+OFFSET
    #[arg(value_name = "PLACE")]
    place: Address,
    /// The bytes as text [default: standard input, without --hex and --file]
    #[arg(conflicts_with_all = ["hex", "file"])]
    text: Option<String>,
    /// The bytes in hexadecimal
    #[arg(long, value_name = "BYTES", conflicts_with = "file", value_parser = Bytes::parse)]
    hex: Option<Bytes>,
    /// The file to write from; - is standard input
    #[arg(long)]
    file: Option<PathBuf>,
    /// How to write
    #[arg(long, default_value = "write")]
    via: Via,
}

/// Bytes as one value.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn parse(text: &str) -> Result<Self, String> {
        byte::parse_all(text).map(Self)
    }
}

/// Bytes that are to be written, and how many they are, if that is known before they are read.
struct Input {
    bytes: Box<dyn Read>,
    length: Option<u64>,
}

pub(crate) fn run(arguments: &Write) -> Result<()> {
    let input = Input::of(arguments)?;
    let device = arguments.place.open()?;
    if input.length == Some(0) {
        return Ok(());
    }
    // Nothing is written of input known to be too long.
    let place = arguments.place.locate(&device, input.length)?;
    place.check_no_hole()?;
    place.check_writable()?;
    let mut progress = Progress::new(place.len());
    copy(
        input.bytes,
        &Target::new(&device, arguments.via),
        &place,
        &mut progress,
    )
}

impl Input {
    fn of(arguments: &Write) -> Result<Self> {
        let known = |bytes: Vec<u8>| Self {
            length: Some(bytes.len() as u64),
            bytes: Box::new(Cursor::new(bytes)),
        };
        match (&arguments.text, &arguments.hex, &arguments.file) {
            (Some(text), ..) => Ok(known(text.clone().into_bytes())),
            (_, Some(bytes), _) => Ok(known(bytes.0.clone())),
            (_, _, Some(path)) if path != Path::new("-") => Self::open(path),
            _ => Ok(Self {
                length: None,
                bytes: Box::new(stdin()),
            }),
        }
    }

    fn open(path: &Path) -> Result<Self> {
        let context = || format!("cannot open {}", path.display());
        let file = File::open(path).with_context(context)?;
        let about = file.metadata().with_context(context)?;
        ensure!(!about.is_dir(), "{} is a directory", path.display());
        Ok(Self {
            // Files of the kernel say 0 and have something nevertheless.
            length: (about.is_file() && about.len() > 0).then_some(about.len()),
            bytes: Box::new(file),
        })
    }
}

/// Copies all of the input to where the place starts.
fn copy(
    mut input: impl Read,
    target: &Target<'_>,
    place: &Place,
    progress: &mut Progress,
) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut at = place.range.start;
    loop {
        let length = fill(&mut input, &mut chunk).context("cannot read the input")?;
        if length == 0 {
            return Ok(());
        }
        let room = usize::try_from(place.range.end - at).unwrap_or(usize::MAX);
        let fitting = length.min(room);
        target.write(at, &chunk[..fitting])?;
        progress.add(fitting as u64);
        at += fitting as u64;
        if fitting < length {
            bail!(
                "the input is too long: only its first {} bytes are written",
                place.len()
            );
        }
    }
}

/// Reads until the chunk is full or the input ends: how many bytes.
fn fill(input: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match input.read(&mut chunk[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
