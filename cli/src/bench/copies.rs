// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads and writes; and records that are read, against records that are mapped.

use super::memory::{sum, Memory, Who};
use super::Bench;
use anyhow::Result;
use chrmem::zerocopy::IntoBytes;
use rustix::fs::sendfile;
use rustix::pipe::{pipe_with, PipeFlags};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Measures all of them.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let largest = bench.largest / 2;
    for size in sizes(bench.quick, &[4 << 10, 1 << 20], 64, largest) {
        for who in [Who::Chrmem, Who::Memfd] {
            let memory = Memory::new(who, size.next_multiple_of(4096))?;
            let mut buffer = vec![1; usize::try_from(size)?];
            bench.take("pread", who.name(), Some(size), || {
                rustix::io::pread(&memory, &mut buffer[..], 0)?;
                Ok(())
            })?;
            bench.take("pwrite", who.name(), Some(size), || {
                rustix::io::pwrite(&memory, &buffer, 0)?;
                Ok(())
            })?;
        }
    }
    if bench.quick {
        return Ok(());
    }
    for size in sizes(false, &[], 4096, largest.min(64 << 20)) {
        clear(bench, size)?;
    }
    for size in [4 << 10, 64 << 10] {
        for who in [Who::Chrmem, Who::Memfd] {
            send(bench, who, size)?;
        }
    }
    for size in sizes(false, &[], 64, largest.min(16 << 20)) {
        records(bench, size)?;
    }
    Ok(())
}

/// Powers of four from `smallest` up to `largest`, or only those of `few`.
pub(super) fn sizes(quick: bool, few: &[u64], smallest: u64, largest: u64) -> Vec<u64> {
    let fits = |size: &u64| *size <= largest;
    let all = std::iter::successors(Some(smallest), |size| size.checked_mul(4));
    match quick {
        true => few.iter().copied().filter(fits).collect(),
        false => all.take_while(fits).collect(),
    }
}

/// Zeroes memory: by the ioctl, by writing zeroes, and by making a hole where there was memory.
fn clear(bench: &mut Bench<'_>, size: u64) -> Result<()> {
    let memory = Memory::new(Who::Chrmem, size)?;
    let device = memory.device()?;
    bench.take("zero", "chrmem CLEAR", Some(size), || {
        Ok(device.clear_range(..)?)
    })?;
    let memory = Memory::new(Who::Memfd, size)?;
    let zeroes = vec![0; usize::try_from(size)?];
    bench.take("zero", "memfd, pwrite of zeroes", Some(size), || {
        rustix::io::pwrite(&memory, &zeroes, 0)?;
        Ok(())
    })
}

/// Sends a file's bytes into a pipe, from which they are read.
fn send(bench: &mut Bench<'_>, who: Who, size: u64) -> Result<()> {
    let memory = Memory::new(who, size)?;
    let (end, start) = pipe_with(PipeFlags::CLOEXEC)?;
    let sink = super::memory::node("/dev/null")?;
    let length = usize::try_from(size)?;
    bench.take("sendfile to a pipe", who.name(), Some(size), || {
        let mut offset = 0;
        let mut left = length;
        while left > 0 {
            let count = sendfile(&start, &memory, Some(&mut offset), left)?;
            anyhow::ensure!(count > 0, "sendfile ends too soon");
            left -= count;
            let mut waiting = count;
            while waiting > 0 {
                let flags = rustix::pipe::SpliceFlags::empty();
                waiting -= rustix::pipe::splice(&end, None, &sink, None, waiting, flags)?;
            }
        }
        Ok(())
    })
}

/// Adds up the words of a record: of a copy of it, of a mapping made for it, of one that is kept.
fn records(bench: &mut Bench<'_>, size: u64) -> Result<()> {
    const WHAT: &str = "look at a record";
    let memory = Memory::new(Who::Chrmem, size.next_multiple_of(4096))?;
    let words = usize::try_from(size / 8)?;
    // As atomics, so that each word is loaded by itself, as those of a mapping are.
    let mut copy: Vec<_> = (0..words).map(|_| AtomicU64::new(1)).collect();
    bench.take(WHAT, "read(2)", Some(size), || {
        rustix::io::pread(&memory, copy.as_mut_bytes(), 0)?;
        let words = copy.iter().map(|word| word.load(Relaxed));
        black_box(words.fold(0, u64::wrapping_add));
        Ok(())
    })?;
    bench.take(WHAT, "a mapping each", Some(size), || {
        let mapping = memory.map(size)?;
        black_box(sum(&mapping));
        Ok(())
    })?;
    let mapping = memory.map(size)?;
    bench.take(WHAT, "a kept mapping", Some(size), || {
        black_box(sum(&mapping));
        Ok(())
    })
}
