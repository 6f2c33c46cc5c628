// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mapping, touching, unmapping; page faults one by one; pinning.

use super::clock::Sample;
use super::copies::sizes;
use super::memory::{sum, touch, Memory, Who, PAGE};
use super::report::Figure;
use super::system::{NoHugePages, Setting};
use super::Bench;
use anyhow::Result;
use chrmem::measure::{self, Ring};
use std::hint::black_box;

/// What goes over whole mappings.
pub(crate) const MAP: &str = "map, touch, unmap";

/// The same while the system's huge pages are switched off. Drivers and file systems with folios of that size need not heed it.
pub(crate) const MAP_OFF: &str = "map, touch, unmap, huge pages off";

/// The same while this process has none (`prctl`), so that all entries are small.
pub(crate) const MAP_SMALL: &str = "map, touch, unmap, no huge pages";

/// The same from the second page of the memory on, where no folio of several pages begins.
pub(crate) const MAP_ODD: &str = "map, touch, unmap, odd offset";

/// Pinning.
pub(crate) const PIN: &str = "pin for io_uring, unpin";

/// The sizes that the goals are about.
pub(crate) const SIZES: [u64; 11] = [
    4 << 10,
    16 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
    LARGE,
    1 << 30,
];

/// As much as the goals are about.
pub(crate) const LARGE: u64 = 64 << 20;

/// Bytes of a huge page.
pub(crate) const HUGE: u64 = 2 << 20;

/// Measures all of them.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let mut all = sizes(false, &[], 4096, bench.largest);
    all.extend(SIZES);
    all.sort_unstable();
    all.dedup();
    let few = [4 << 10, 64 << 10, 1 << 20, HUGE, LARGE];
    let fits = |size: &u64| *size <= bench.largest && (!bench.quick || few.contains(size));
    for size in all.into_iter().filter(fits).collect::<Vec<_>>() {
        for who in [
            Who::Chrmem,
            Who::Memfd,
            Who::Populated,
            Who::Hugetlb,
            Who::DmaHeap,
            Who::Udmabuf,
        ] {
            map(bench, who, size)?;
        }
    }
    let large = LARGE.min(bench.largest);
    for who in [Who::Chrmem, Who::Memfd, Who::Hugetlb] {
        with(bench, who, large, |bench, memory| {
            let mapping = memory.map(large)?;
            // A mapping that was not touched is not warm.
            black_box(sum(&mapping));
            bench.take("sum of all words", who.name(), Some(large), || {
                black_box(sum(&mapping));
                Ok(())
            })?;
            pin(bench, who, memory, large)
        })?;
    }
    for who in [Who::Chrmem, Who::Memfd] {
        with(bench, who, 1 << 20, |bench, memory| {
            pin(bench, who, memory, 1 << 20)
        })?;
    }
    for size in [1 << 20, large] {
        for who in [Who::Chrmem, Who::Populated] {
            let memory = Memory::new(who, size + PAGE as u64)?;
            bench.take(MAP_ODD, who.name(), Some(size), || {
                touch(&memory.map_range(PAGE as u64..size + PAGE as u64)?);
                Ok(())
            })?;
        }
    }
    if bench.system {
        let _setting = Setting::no_huge_pages()?;
        map_without(bench, MAP_OFF, large)?;
    } else {
        bench.leave_out(MAP_OFF, "changes the system's settings: --system allows it");
    }
    let small = NoHugePages::new()?;
    map_without(bench, MAP_SMALL, large)?;
    drop(small);
    let faulted = match bench.quick {
        true => large,
        false => bench.largest.min(1 << 30),
    };
    worst_fault(bench, Who::Chrmem, faulted)?;
    worst_fault(bench, Who::Memfd, large)
}

/// Does something with memory, with huge pages put aside if that is what it is made of; notes why if it
/// cannot be had.
fn with(
    bench: &mut Bench<'_>,
    who: Who,
    size: u64,
    act: impl FnOnce(&mut Bench<'_>, &Memory) -> Result<()>,
) -> Result<()> {
    // Other drivers' own limits are about here.
    if matches!(who, Who::DmaHeap | Who::Udmabuf) && size > LARGE
        || who == Who::Hugetlb && size < HUGE
    {
        return Ok(());
    }
    let reserved = match (who, bench.system) {
        (Who::Hugetlb, true) => Some(Setting::reserved(size)),
        _ => None,
    };
    match Memory::new(who, size) {
        Ok(memory) => act(bench, &memory)?,
        Err(error) if who == Who::Chrmem => return Err(error),
        Err(error) => bench.leave_out(who.name(), format_args!("{error:#}")),
    }
    drop(reserved);
    Ok(())
}

fn map(bench: &mut Bench<'_>, who: Who, size: u64) -> Result<()> {
    with(bench, who, size, |bench, memory| {
        bench.take(MAP, who.name(), Some(size), || {
            touch(&memory.map(size)?);
            Ok(())
        })
    })
}

/// Maps without huge pages.
fn map_without(bench: &mut Bench<'_>, what: &str, size: u64) -> Result<()> {
    for who in [Who::Chrmem, Who::Memfd] {
        let memory = Memory::new(who, size)?;
        bench.take(what, who.name(), Some(size), || {
            touch(&memory.map(size)?);
            Ok(())
        })?;
    }
    Ok(())
}

/// Has io_uring pin the pages of a mapping.
fn pin(bench: &mut Bench<'_>, who: Who, memory: &Memory, size: u64) -> Result<()> {
    let mapping = memory.map(size)?;
    touch(&mapping);
    let ring = match Ring::new() {
        Ok(ring) => ring,
        Err(error) => {
            bench.leave_out(PIN, error);
            return Ok(());
        }
    };
    bench.take(PIN, who.name(), Some(size), || {
        ring.pin(&mapping.all())?;
        Ok(ring.unpin()?)
    })
}

/// The dearest first touch of any page of a mapping. Each page's is the cheapest of some rounds: what
/// comes between, such as the timer, does not come to the same page each time.
fn worst_fault(bench: &mut Bench<'_>, who: Who, size: u64) -> Result<()> {
    const WHAT: &str = "dearest touch of a page";
    const ROUNDS: u32 = 3;
    bench.say(WHAT, who.name(), Some(size))?;
    let memory = Memory::new(who, size)?;
    let mut pages = vec![f64::INFINITY; usize::try_from(size / 4096)?];
    for _ in 0..ROUNDS {
        let mapping = memory.map(size)?;
        for (start, page) in (0..).step_by(4096).zip(&mut pages) {
            let byte = mapping.view(start..=start)?;
            *page = page.min(bench.clock.once(|| measure::touch(&byte, 1)));
        }
    }
    let worst = pages.into_iter().fold(0.0, f64::max);
    bench.report.figures.push(Figure {
        what: WHAT.into(),
        who: who.name().into(),
        size: Some(size),
        threads: None,
        sample: Sample {
            median: worst,
            low: worst,
            high: worst,
            repetitions: ROUNDS,
        },
    });
    Ok(())
}
