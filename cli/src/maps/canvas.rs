// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where windows lie in a picture: side by side, the larger the wider, none too narrow to be seen.

use super::Mapped;
use crate::describe::Window;
use std::ops::Range;

/// Columns between two windows.
const GAP: usize = 1;

/// A window in the picture.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its place among the device's windows.
    pub(crate) window: usize,
    /// The first column.
    pub(crate) start: usize,
    /// How many columns.
    pub(crate) width: usize,
}

/// Places as many windows as there is room for in `width` columns, each at least `narrowest` wide.
/// Those that are mapped come first where there is not room for all.
pub(crate) fn arrange(device: &Mapped, width: usize, narrowest: usize) -> Vec<Column> {
    let room = ((width + GAP) / (narrowest + GAP)).max(1);
    let mut chosen: Vec<usize> = (0..device.windows().len()).collect();
    if chosen.len() > room {
        let is_mapped = |index: &usize| {
            let range = device.windows()[*index].range();
            let meets = |it: Range<u64>| it.start < range.end && range.start < it.end;
            device.mappings.iter().any(|it| meets(it.range()))
        };
        chosen.sort_by_key(|index| !is_mapped(index));
        chosen.truncate(room);
        chosen.sort_unstable();
    }
    let weights: Vec<_> = chosen
        .iter()
        .map(|it| weight(&device.windows()[*it]))
        .collect();
    let total: usize = weights.iter().sum();
    let spare = (width + GAP).saturating_sub(chosen.len() * (narrowest + GAP));
    let mut start = 0;
    let mut before = 0;
    chosen
        .into_iter()
        .zip(weights)
        .map(|(window, weight)| {
            // Rounded as sums, so that nothing is lost.
            let more = spare * (before + weight) / total - spare * before / total;
            before += weight;
            let column = Column {
                window,
                start,
                width: narrowest + more,
            };
            start += column.width + GAP;
            column
        })
        .collect()
}

/// How much of the room a window gets: by the order of its size, not by its size, or a header beside
/// its frames would not be seen.
fn weight(window: &Window) -> usize {
    window.size.max(4096).ilog2() as usize - 11
}

/// Which of the `cells` that show the range `whole` show some of `part`.
pub(crate) fn cells(whole: &Range<u64>, part: &Range<u64>, cells: usize) -> Range<usize> {
    let start = part.start.max(whole.start);
    let end = part.end.min(whole.end);
    if start >= end || cells == 0 {
        return 0..0;
    }
    let size = u128::from(whole.end - whole.start);
    let at = |offset: u64| u128::from(offset - whole.start) * cells as u128;
    let first = at(start) / size;
    let last = at(end).div_ceil(size);
    // Both are at most `cells`.
    first as usize..last as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::fixture::window;
    use crate::maps::Mapping;
    use proptest::prelude::*;

    fn device(sizes: &[u64], mapped: &[usize]) -> Mapped {
        let mut offset = 0;
        let mut windows = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            windows.push(window(&index.to_string(), offset, *size));
            offset += size;
        }
        let mappings = mapped.iter().map(|index| Mapping {
            pid: 1,
            process: "x".to_owned(),
            address: 0,
            size: 4096,
            offset: windows[*index].offset,
            permissions: "rw-s".to_owned(),
            window: None,
        });
        let mappings = mappings.collect();
        Mapped::with("/dev/chrmem-x".to_owned(), false, Some(windows), mappings)
    }

    #[test]
    fn a_small_window_is_seen_beside_a_large_one() {
        let columns = arrange(&device(&[4096, 1 << 30], &[]), 60, 6);
        assert_eq!(columns[0].start, 0);
        assert!(columns[0].width >= 6, "{columns:?}");
        assert!(columns[1].width > 2 * columns[0].width, "{columns:?}");
        assert_eq!(columns[1].start + columns[1].width, 60);
    }

    #[test]
    fn mapped_windows_come_before_others() {
        let columns = arrange(&device(&[4096; 100], &[3, 97]), 13, 6);
        let windows: Vec<_> = columns.iter().map(|it| it.window).collect();
        assert_eq!(windows, [3, 97]);
    }

    proptest! {
        #[test]
        fn windows_lie_side_by_side_in_the_picture(
            sizes in prop::collection::vec((0..40_u32).prop_map(|it| 4096 << it), 1..60),
            width in 10..200_usize,
            narrowest in 1..10_usize,
        ) {
            let device = device(&sizes, &[]);
            let columns = arrange(&device, width, narrowest);
            let mut end = 0;
            for column in &columns {
                prop_assert!(column.width >= narrowest);
                prop_assert_eq!(column.start, end);
                end = column.start + column.width + GAP;
            }
            prop_assert_eq!(end, width + GAP);
        }

        #[test]
        fn a_cell_is_lit_if_some_of_what_it_shows_is_mapped(
            start in 0..500_u64, size in 1..500_u64,
            from in 0..1000_u64, length in 0..1000_u64,
            count in 1..50_usize,
        ) {
            let (whole, part) = (start..start + size, from..from + length);
            let lit = cells(&whole, &part, count);
            for cell in 0..count {
                // The cell shows the offsets at which it is what `size` bytes in `count` cells give.
                let shown = |at: u64| {
                    let low = (at - start) * count as u64 / size;
                    let high = ((at - start + 1) * count as u64 - 1) / size;
                    (low..=high).contains(&(cell as u64))
                };
                let expected = whole.clone().any(|at| part.contains(&at) && shown(at));
                prop_assert_eq!(lit.contains(&cell), expected, "cell {} of {:?}", cell, lit);
            }
        }
    }
}
