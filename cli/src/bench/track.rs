// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stores into tracked windows: what the first one into a page costs, and what it takes to wake somebody.

use super::calls::{Kind, Other};
use super::clock::Sample;
use super::memory::{Made, Memory, Who};
use super::report::Figure;
use super::Bench;
use anyhow::Result;
use chrmem::{measure, Device, Mapping};

/// The first store into a page: after a look, or into a fresh mapping.
pub(crate) const STORE: &str = "first store into a page";

/// A store or a notification that wakes another process, and its answer.
pub(crate) const WAKE: &str = "wake another process and be answered";

/// Who does so in a tracked window, and who says it.
pub(crate) const TRACKED: &str = "chrmem, tracked";
pub(crate) const NOTIFIED: &str = "chrmem, notified";

/// Bytes of the memory whose pages are stored into.
const SIZE: u64 = 1 << 20;

/// Measures all of them.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let made = Made::tracked(SIZE)?;
    let device = made.open()?;
    let mapping = device.map(..)?;
    let mut since = 0;
    stores(
        bench,
        TRACKED,
        || {
            since = device.changes(since)?.generation;
            Ok(None)
        },
        Some(&mapping),
    )?;
    drop((mapping, device, made));
    let memory = Memory::new(Who::Memfd, SIZE)?;
    stores(
        bench,
        Who::Memfd.name(),
        || memory.map(SIZE).map(Some),
        None,
    )?;
    let made = Made::tracked(4096)?;
    let mapping = made.open()?.map(..)?;
    wake(bench, TRACKED, Kind::Tracked, &made, |_| {
        measure::touch(&mapping.all(), 4096);
        Ok(())
    })?;
    let made = Made::new(4096)?;
    wake(bench, NOTIFIED, Kind::Devices, &made, |device| {
        Ok(device.notify()?)
    })
}

/// A store into each page, after `prepare` has made a mapping where that has to be a fresh one. Each page's is the cheapest of some
/// rounds: what comes between, such as the timer, does not come to the same page each time.
fn stores(
    bench: &mut Bench<'_>,
    who: &str,
    mut prepare: impl FnMut() -> Result<Option<Mapping>>,
    same: Option<&Mapping>,
) -> Result<()> {
    const ROUNDS: u32 = 5;
    bench.say(STORE, who, None)?;
    let mut pages = vec![f64::INFINITY; usize::try_from(SIZE / 4096)?];
    for _ in 0..ROUNDS {
        let fresh = prepare()?;
        let Some(mapping) = fresh.as_ref().or(same) else {
            continue;
        };
        for (start, page) in (0..).step_by(4096).zip(&mut pages) {
            let byte = mapping.view(start..=start)?;
            *page = page.min(bench.clock.once(|| measure::touch(&byte, 1)));
        }
    }
    bench.report.figures.push(Figure {
        what: STORE.into(),
        who: who.into(),
        size: None,
        threads: None,
        sample: Sample::of(pages),
    });
    Ok(())
}

/// Wakes another process, which waits for changes of `made`, and waits for its answer.
fn wake(
    bench: &mut Bench<'_>,
    who: &str,
    kind: Kind,
    made: &Made,
    act: impl Fn(&Device) -> Result<()>,
) -> Result<()> {
    bench.say(WAKE, who, None)?;
    let back = Made::new(4096)?;
    let (there, answer) = (made.open()?, back.open()?);
    let _other = Other::start(kind, made.open()?.into(), back.open()?.into())?;
    bench.take(WAKE, who, None, || {
        act(&there)?;
        answer.wait(None)?;
        Ok(())
    })
}
