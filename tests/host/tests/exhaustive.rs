// SPDX-License-Identifier: MIT OR Apache-2.0

//! The driver's offset arithmetic in a small world, completely: every layout of up to three windows in seven
//! pages, at every end of the numbers that there are, asked about every offset and size that can matter.
//!
//! The model is a list of pages that are there.

#[path = "../../../driver/layout.rs"]
#[allow(dead_code, reason = "not all of it takes a layout")]
mod layout;

use std::io::Write;

use layout::{Extent, Place, RangeError, END_MAX, PAGE};

/// What the driver takes from the kernel.
const PAGE_SIZE: usize = 4096;

/// Pages of the world.
const WORLD: u64 = 7;

/// Where the world begins: at zero, where 32 bits end, and as high as can be.
const STARTS: [u64; 4] = [0, PAGE, (1 << 32) - 2 * PAGE, END_MAX - WORLD * PAGE];

/// Tells what was tried, for `docs/reliability.md`. Not by `println`, which the tests' program keeps to itself.
fn fact(what: &str, count: u64) {
    let line = format!("report: inputs: {what}: {count}\n");
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("output");
}

/// Calls `check` with the extents of every way to lay out up to `most` windows in the world.
fn layouts(most: usize, check: &mut impl FnMut(&[Extent])) -> u64 {
    /// Adds to `extents`, which end at page `from`, all that can follow.
    fn more(
        start: u64,
        from: u64,
        most: usize,
        extents: &mut Vec<Extent>,
        check: &mut impl FnMut(&[Extent]),
    ) -> u64 {
        check(extents);
        let mut count = 1;
        if extents.len() == most {
            return count;
        }
        for first in from..WORLD {
            for end in first + 1..=WORLD {
                extents.push(Extent {
                    offset: start + first * PAGE,
                    size: (end - first) * PAGE,
                });
                count += more(start, end, most, extents, check);
                extents.pop();
            }
        }
        count
    }
    STARTS
        .iter()
        .map(|start| more(*start, 0, most, &mut Vec::new(), check))
        .sum()
}

/// Which window has the byte at `offset`.
fn owner(extents: &[Extent], offset: u128) -> Option<usize> {
    extents.iter().position(|extent| {
        let (start, size) = (u128::from(extent.offset), u128::from(extent.size));
        start <= offset && offset < start + size
    })
}

/// Offsets around each page of the world and around the ends of all numbers.
fn offsets(extents: &[Extent]) -> Vec<u64> {
    let start = STARTS
        .iter()
        .rev()
        .find(|start| extents.first().is_none_or(|first| **start <= first.offset));
    let start = *start.expect("a start");
    let edges = (0..=WORLD + 1).map(|page| start + page * PAGE);
    let ends = [
        0,
        END_MAX,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - PAGE + 1,
        u64::MAX,
    ];
    let mut offsets: Vec<u64> = edges
        .chain(ends)
        .flat_map(|edge| [-1, 0, 1].map(|by| edge.wrapping_add_signed(by)))
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

/// Sizes around whole pages, and those that lead over the end of all numbers.
fn sizes() -> Vec<u64> {
    let edges = (0..=WORLD + 1).map(|pages| pages * PAGE);
    let ends = [
        1 << 32,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - PAGE + 1,
        u64::MAX,
    ];
    let mut sizes: Vec<u64> = edges
        .chain(ends)
        .flat_map(|edge| [-1, 0, 1].map(|by| edge.wrapping_add_signed(by)))
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The end of the last window.
fn end(extents: &[Extent]) -> u128 {
    extents
        .last()
        .map_or(0, |last| u128::from(last.offset) + u128::from(last.size))
}

#[test]
fn everything_that_reads_and_seeks() {
    let sizes = sizes();
    let mut cases = 0_u64;
    let layouts = layouts(3, &mut |extents| {
        assert_eq!(layout::check(extents), Ok(()));
        assert_eq!(u128::from(layout::size(extents)), end(extents));
        for offset in offsets(extents) {
            let (at, whose) = (u128::from(offset), owner(extents, u128::from(offset)));
            for size in &sizes {
                let expected = match whose {
                    Some(window) => {
                        let start = offset - extents[window].offset;
                        let size = (*size).min(extents[window].size - start);
                        Place::Window {
                            window,
                            start,
                            size,
                        }
                    }
                    None if at >= end(extents) => Place::End,
                    None => Place::Hole,
                };
                let place = layout::place(extents, offset, *size);
                assert_eq!(place, expected, "{size:#x} at {offset:#x} of {extents:x?}");
                cases += 1;
            }
            // Kinds change at whole pages only: here, or at one of those that follow in the world.
            let later = |is: &dyn Fn(u128) -> bool| {
                let page = u128::from(PAGE);
                let mut candidates = vec![at];
                let next = (at / page + 1) * page;
                candidates.extend((0..=u128::from(WORLD) + 2).map(|n| next + n * page));
                candidates.extend(extents.iter().map(|it| u128::from(it.offset)));
                candidates.sort_unstable();
                candidates.into_iter().find(|it| *it >= at && is(*it))
            };
            let data = later(&|at| owner(extents, at).is_some());
            assert_eq!(layout::data(extents, offset).map(u128::from), data);
            let hole = later(&|at| owner(extents, at).is_none()).filter(|_| at < end(extents));
            assert_eq!(layout::hole(extents, offset).map(u128::from), hole);
            cases += 2;
        }
    });
    fact(
        &format!("layouts of windows, all that there are in {WORLD} pages"),
        layouts,
    );
    fact("offsets and sizes tried in each of them", cases);
    assert!(layouts > 500 && cases > 500_000, "{layouts} {cases}");
}

#[test]
fn every_mapping_and_range() {
    let sizes = sizes();
    let mut cases = 0_u64;
    layouts(3, &mut |extents| {
        for offset in offsets(extents) {
            for size in &sizes {
                let about = || format!("{size:#x} at {offset:#x} of {extents:x?}");
                // Of each byte it is enough to look at the first of its page.
                let page = u128::from(PAGE);
                let (from, to) = (u128::from(offset), u128::from(offset) + u128::from(*size));
                let expected = if *size == 0 || to > end(extents) {
                    Err(RangeError::PastEnd)
                } else {
                    let mut at = from;
                    while at < to && owner(extents, at).is_some() {
                        at = (at / page + 1) * page;
                    }
                    if at < to {
                        Err(RangeError::NoMemory)
                    } else {
                        Ok(())
                    }
                };
                // From far below to the very end would be a long walk, and there is a hole.
                if expected.is_ok() || to - from < 1 << 40 {
                    assert_eq!(
                        layout::range(extents, offset, *size),
                        expected,
                        "{}",
                        about()
                    );
                }
                let (first, pages) = (offset / PAGE, size.div_ceil(PAGE));
                let (from, to) = (
                    u128::from(first) * page,
                    (u128::from(first) + u128::from(pages)) * page,
                );
                let expected = match owner(extents, from) {
                    None => Err(RangeError::NoMemory),
                    Some(_) if pages == 0 => Err(RangeError::PastEnd),
                    Some(window) if owner(extents, to - 1) == Some(window) => Ok(window),
                    Some(_) => Err(RangeError::PastEnd),
                };
                assert_eq!(
                    layout::mapping(extents, first, pages),
                    expected,
                    "{}",
                    about()
                );
                cases += 2;
            }
            // Numbers of pages that no offset has.
            for (first, pages) in [
                (u64::MAX, 1),
                (1 << 52, 1),
                (0, u64::MAX),
                (u64::MAX, u64::MAX),
            ] {
                let answer = layout::mapping(extents, first, pages);
                assert!(answer.is_err(), "{answer:?}");
            }
        }
    });
    fact("mappings and ranges tried in each of them", cases);
    assert!(cases > 1_000_000, "{cases}");
}

/// Every list of two or three extents from a few numbers, good or not, is taken if and only if it is good.
#[test]
fn every_layout_that_can_be_and_cannot() {
    let top = END_MAX - 2 * PAGE;
    let offsets = [
        0,
        1,
        PAGE,
        2 * PAGE,
        top,
        top + PAGE,
        END_MAX,
        1 << 63,
        0_u64.wrapping_sub(PAGE),
    ];
    let sizes = [
        0,
        1,
        PAGE,
        2 * PAGE,
        END_MAX,
        1 << 63,
        0_u64.wrapping_sub(PAGE),
        u64::MAX,
    ];
    let mut all = Vec::new();
    for offset in offsets {
        all.extend(sizes.map(|size| Extent { offset, size }));
    }
    let fine = |extents: &[Extent]| {
        let mut last = 0_u128;
        extents.iter().all(|extent| {
            let (start, size) = (u128::from(extent.offset), u128::from(extent.size));
            let fits = size != 0
                && extent.offset % PAGE == 0
                && extent.size % PAGE == 0
                && start >= last
                && start + size <= u128::from(END_MAX);
            last = start + size;
            fits
        })
    };
    let mut cases = 0_u64;
    for one in &all {
        assert_eq!(layout::check(&[*one]).is_ok(), fine(&[*one]));
        for two in &all {
            assert_eq!(layout::check(&[*one, *two]).is_ok(), fine(&[*one, *two]));
            for three in &all {
                let extents = [*one, *two, *three];
                assert_eq!(
                    layout::check(&extents).is_ok(),
                    fine(&extents),
                    "{extents:x?}"
                );
                cases += 1;
            }
        }
    }
    fact("lists of extents, possible and impossible", cases);
}
