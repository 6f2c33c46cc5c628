// SPDX-License-Identifier: MIT OR Apache-2.0

//! Several threads at once: what one operation costs while others are under way.

use super::clock::Sample;
use super::memory::{touch, Memory, Who};
use super::report::Figure;
use super::Bench;
use anyhow::{anyhow, Result};
use std::sync::Barrier;
use std::time::Instant;

/// How often it is all repeated.
const ROUNDS: u32 = 7;

/// Where is read: not at the start, whose address may differ from the buffer's by a power of two. An emulator's TLB has only
/// one place for both then.
const OFFSET: u64 = 100 * 4096;

/// Measures all of them, with one thread up to as many as there are processors.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let most = bench.report.processors;
    for who in [Who::Chrmem, Who::Memfd] {
        let memory = Memory::new(who, 4 << 20)?;
        for threads in 1..=most {
            scale(
                bench,
                "pread by threads",
                who,
                64 << 10,
                threads,
                400,
                || {
                    let mut buffer = vec![0; 64 << 10];
                    let memory = &memory;
                    Ok(move || {
                        rustix::io::pread(memory, &mut buffer[..], OFFSET)?;
                        Ok(())
                    })
                },
            )?;
            scale(
                bench,
                "map, touch, unmap by threads",
                who,
                4 << 20,
                threads,
                20,
                || {
                    let memory = &memory;
                    Ok(move || {
                        touch(&memory.map(memory.size)?);
                        Ok(())
                    })
                },
            )?;
        }
    }
    Ok(())
}

/// Measures `calls` calls by each of some threads; `make` makes what each calls.
fn scale<F: FnMut() -> Result<()>>(
    bench: &mut Bench<'_>,
    what: &str,
    who: Who,
    size: u64,
    threads: usize,
    calls: u32,
    make: impl Fn() -> Result<F> + Sync,
) -> Result<()> {
    bench.say(&format!("{what}, {threads}"), who.name(), Some(size))?;
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let barrier = Barrier::new(threads);
        let one = || -> Result<f64> {
            let made = make();
            barrier.wait();
            let mut act = made?;
            let start = Instant::now();
            for _ in 0..calls {
                act()?;
            }
            // CAST: these are no days.
            Ok(start.elapsed().as_nanos() as f64)
        };
        let times = std::thread::scope(|scope| {
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            let times = started.into_iter().map(|thread| {
                let ended = thread.join();
                ended.map_err(|_| anyhow!("a thread panicked"))?
            });
            times.collect::<Result<Vec<_>>>()
        })?;
        let longest = times.into_iter().fold(0.0, f64::max);
        // CAST: few threads. What each operation costs of the time of all.
        values.push(longest / f64::from(calls) / threads as f64);
    }
    bench.report.figures.push(Figure {
        what: what.into(),
        who: who.name().into(),
        size: Some(size),
        threads: Some(threads),
        sample: Sample::of(values),
    });
    Ok(())
}
