// SPDX-License-Identifier: MIT OR Apache-2.0

//! The driver's offset arithmetic against a plain model: a list of ranges that is searched from its
//! start, in numbers too wide to overflow.

#[path = "../../../driver/layout.rs"]
mod layout;

use layout::{Defect, Extent, Place, RangeError, END_MAX, PAGE};
use proptest::prelude::*;

/// What the driver takes from the kernel.
const PAGE_SIZE: usize = 4096;

/// Extents that `check` takes: gaps and sizes in pages, from the start or up to the very end.
fn extents() -> impl Strategy<Value = Vec<Extent>> {
    (
        proptest::collection::vec((0u64..3, 1u64..4), 0..8),
        prop_oneof![Just(0), Just(1), 0u64..END_MAX / PAGE / 2, Just(u64::MAX)],
    )
        .prop_map(|(parts, first)| {
            let pages: u64 = parts.iter().map(|(gap, size)| gap + size).sum();
            let mut offset = first.min(END_MAX / PAGE - pages) * PAGE;
            parts
                .into_iter()
                .map(|(gap, size)| {
                    let extent = Extent {
                        offset: offset + gap * PAGE,
                        size: size * PAGE,
                    };
                    offset = extent.offset + extent.size;
                    extent
                })
                .collect()
        })
}

/// Offsets around every edge that there is, and anything else.
fn offset(extents: &[Extent]) -> impl Strategy<Value = u64> {
    let mut edges = vec![0, END_MAX, i64::MAX as u64, 1 << 63, u64::MAX];
    edges.extend(extents.iter().flat_map(|e| [e.offset, e.offset + e.size]));
    (
        prop_oneof![
            8 => proptest::sample::select(edges),
            1 => any::<u64>(),
        ],
        prop_oneof![
            Just(0i64),
            Just(-1),
            Just(1),
            Just(-(PAGE as i64)),
            Just(PAGE as i64),
            -3 * PAGE as i64..3 * PAGE as i64
        ],
    )
        .prop_map(|(edge, by)| edge.wrapping_add_signed(by))
}

/// Sizes of all kinds.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..=3 * PAGE,
        (0u64..9).prop_map(|pages| pages * PAGE),
        Just(u64::MAX),
        Just(1 << 63),
        any::<u64>()
    ]
}

fn case() -> impl Strategy<Value = (Vec<Extent>, u64, u64)> {
    extents().prop_flat_map(|extents| {
        let offset = offset(&extents);
        (Just(extents), offset, size())
    })
}

/// The model: which window an offset lies in.
fn window_at(extents: &[Extent], offset: u128) -> Option<usize> {
    extents.iter().position(|extent| {
        let start = u128::from(extent.offset);
        (start..start + u128::from(extent.size)).contains(&offset)
    })
}

fn end(extents: &[Extent]) -> u128 {
    extents
        .last()
        .map_or(0, |e| u128::from(e.offset) + u128::from(e.size))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        // A failure is printed with its smallest input; keep that as a test of its own.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_generated_is_valid(extents in extents()) {
        prop_assert_eq!(layout::check(&extents), Ok(()));
        prop_assert_eq!(u128::from(layout::size(&extents)), end(&extents));
    }

    #[test]
    fn place_finds_the_window((extents, offset, size) in case()) {
        let at = u128::from(offset);
        let expected = match window_at(&extents, at) {
            Some(window) => {
                let start = offset - extents[window].offset;
                Place::Window { window, start, size: size.min(extents[window].size - start) }
            }
            None if at >= end(&extents) => Place::End,
            None => Place::Hole,
        };
        prop_assert_eq!(layout::place(&extents, offset, size), expected);
    }

    #[test]
    fn seeking_finds_the_next_byte_of_its_kind((extents, offset, _) in case()) {
        // Kinds change at edges only, so the next one is here or at one of them.
        let mut candidates: Vec<u64> = extents
            .iter()
            .flat_map(|e| [e.offset, e.offset + e.size])
            .chain([offset])
            .filter(|at| *at >= offset)
            .collect();
        candidates.sort_unstable();
        let data = candidates.iter().find(|at| window_at(&extents, u128::from(**at)).is_some());
        prop_assert_eq!(layout::data(&extents, offset), data.copied());
        let hole = candidates
            .iter()
            .find(|at| window_at(&extents, u128::from(**at)).is_none())
            .filter(|_| u128::from(offset) < end(&extents));
        prop_assert_eq!(layout::hole(&extents, offset), hole.copied());
    }

    #[test]
    fn a_mapping_lies_in_one_window((extents, offset, size) in case()) {
        let (page, pages) = (offset / PAGE, size.div_ceil(PAGE));
        let first = u128::from(page) * u128::from(PAGE);
        let last = (u128::from(page) + u128::from(pages)) * u128::from(PAGE);
        let expected = match window_at(&extents, first) {
            None => Err(RangeError::NoMemory),
            Some(window) => {
                let extent = extents[window];
                if pages == 0 || last > u128::from(extent.offset) + u128::from(extent.size) {
                    Err(RangeError::PastEnd)
                } else {
                    Ok(window)
                }
            }
        };
        prop_assert_eq!(layout::mapping(&extents, page, pages), expected);
    }

    #[test]
    fn a_mapping_of_any_numbers_answers(extents in extents(), page: u64, pages: u64) {
        let _ = layout::mapping(&extents, page, pages);
        let _ = layout::mapping(&extents, u64::MAX - page % 8, u64::MAX - pages % 8);
    }

    #[test]
    fn a_range_has_memory_everywhere((extents, offset, size) in case()) {
        let to = u128::from(offset) + u128::from(size);
        let expected = if size == 0 || to > end(&extents) {
            Err(RangeError::PastEnd)
        } else {
            // Kinds change at page boundaries only.
            let mut at = u128::from(offset);
            let mut all = true;
            while at < to && all {
                all = window_at(&extents, at).is_some();
                at = (at / u128::from(PAGE) + 1) * u128::from(PAGE);
            }
            if all { Ok(()) } else { Err(RangeError::NoMemory) }
        };
        // A range of the model's size would take for ever to walk.
        prop_assume!(size < 1 << 20 || expected.is_err());
        prop_assert_eq!(layout::range(&extents, offset, size), expected);
    }

    #[test]
    fn a_part_of_a_window_is_what_both_have((extents, offset, size) in case()) {
        let range = offset..offset.saturating_add(size);
        for extent in &extents {
            let (part, window) = (extent.within(&range), extent.offset..extent.end());
            let edges = [range.start, range.end, window.start, window.end];
            for at in edges.into_iter().flat_map(|it| [it.wrapping_sub(1), it]) {
                let expected = range.contains(&at) && window.contains(&at);
                prop_assert_eq!(part.contains(&at), expected, "{}", at);
            }
        }
    }

    #[test]
    fn whole_pages_rounds_up(bytes: u64) {
        let wide = u128::from(bytes).next_multiple_of(u128::from(PAGE));
        let expected = u64::try_from(wide).ok().filter(|size| (1..=END_MAX).contains(size));
        prop_assert_eq!(layout::whole_pages(bytes), expected);
    }

    #[test]
    fn check_finds_each_defect(
        extents in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..5)
    ) {
        let extents: Vec<_> = extents
            .into_iter()
            .map(|(offset, size)| Extent { offset, size })
            .collect();
        let good = extents.iter().enumerate().all(|(i, e)| {
            e.size != 0
                && e.offset % PAGE == 0
                && e.size % PAGE == 0
                && u128::from(e.offset) + u128::from(e.size) <= u128::from(END_MAX)
                && extents[..i].iter().all(|b| {
                    u128::from(b.offset) + u128::from(b.size) <= u128::from(e.offset)
                })
        });
        prop_assert_eq!(layout::check(&extents).is_ok(), good);
    }
}

#[test]
fn edges_of_whole_pages() {
    for (bytes, expected) in [
        (0, None),
        (1, Some(4096)),
        (4096, Some(4096)),
        (4097, Some(8192)),
        (END_MAX, Some(END_MAX)),
        (END_MAX + 1, None),
        (u64::MAX - 4095, None),
        (u64::MAX, None),
    ] {
        assert_eq!(layout::whole_pages(bytes), expected, "{bytes}");
    }
}

#[test]
fn each_defect_names_its_window() {
    let good = Extent {
        offset: 0,
        size: 2 * PAGE,
    };
    let with = |offset, size| layout::check(&[good, Extent { offset, size }]);
    assert_eq!(with(2 * PAGE, PAGE), Ok(()));
    assert_eq!(with(2 * PAGE, 0), Err(Defect::Empty(1)));
    assert_eq!(with(2 * PAGE + 1, PAGE), Err(Defect::Unaligned(1)));
    assert_eq!(with(2 * PAGE, PAGE - 1), Err(Defect::Unaligned(1)));
    assert_eq!(with(PAGE, PAGE), Err(Defect::Overlap(1)));
    assert_eq!(with(END_MAX, PAGE), Err(Defect::TooLarge(1)));
    assert_eq!(with(END_MAX - PAGE, PAGE), Ok(()));
    assert_eq!(
        with(0u64.wrapping_sub(PAGE), PAGE),
        Err(Defect::TooLarge(1))
    );
    assert_eq!(
        with(4 * PAGE, 0u64.wrapping_sub(2 * PAGE)),
        Err(Defect::TooLarge(1))
    );
}

#[test]
fn each_defect_says_what_it_is() {
    let all = [
        Defect::Empty(3),
        Defect::Unaligned(3),
        Defect::TooLarge(3),
        Defect::Overlap(3),
    ];
    for (index, defect) in all.into_iter().enumerate() {
        assert_eq!(defect.window(), 3);
        let others = all.iter().skip(index + 1);
        assert!(others.clone().all(|other| other.why() != defect.why()));
    }
}

#[test]
fn no_windows_is_an_empty_device() {
    assert_eq!(layout::check(&[]), Ok(()));
    assert_eq!(layout::size(&[]), 0);
    assert_eq!(layout::place(&[], 0, 1), Place::End);
    assert_eq!(layout::data(&[], 0), None);
    assert_eq!(layout::hole(&[], 0), None);
    assert_eq!(layout::mapping(&[], 0, 1), Err(RangeError::NoMemory));
    assert_eq!(layout::range(&[], 0, 1), Err(RangeError::PastEnd));
}
