// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests that do not run on every processor or with every size of pages, each with its reason. The runner of the tests, which has this file by its
//! path, accepts no others and checks that they are few.

/// Tests that do not run on arm64.
const NOT_ON_ARM64: &[(&str, &str)] = &[
    (
        "ioctl::callers_of_32_bits",
        "a 64-bit program has no 32-bit calls",
    ),
    (
        "oracle::dma_heap_answers_as_it_is_known_to",
        "Debian's kernel has no DMA heaps",
    ),
    (
        "cache::physical_ranges_are_listed_with_their_mode",
        "only PCs' kernels have such a list",
    ),
    ("importers::qxl_imports_a_dma_buf", "QEMU has no QXL device"),
    (
        "dirty::a_written_page_is_dirty_and_its_neighbours_are_not",
        DIRTY,
    ),
    (
        "dirty::a_page_whose_neighbour_was_written_is_dirty_once_written",
        DIRTY,
    ),
    ("dirty::a_huge_page_is_dirty_as_a_whole", DIRTY),
    ("guide::docs/guide/cache.md", UNCACHED),
    ("guide::docs/guide/faults.md", UNCACHED),
    ("guide::docs/guide/lessons.md", UNCACHED),
    ("guide::docs/hardware.md", UNCACHED),
];

const UNCACHED: &str = "the page makes windows of RAM that is not cached";

const DIRTY: &str = "Linux has no soft-dirty bits there";

/// Tests that do not run where a page has 16 KiB. They are pages of the documentation, whose examples were typed where it
/// has 4 KiB.
const NOT_ON_16K: &[(&str, &str)] = &[
    ("guide::README.md", SMALL),
    ("guide::cli/README.md", SMALL),
    ("guide::docs/configfs.md", SMALL),
    ("guide::docs/guide/lifetime.md", SMALL),
    ("guide::docs/guide/mmap.md", SIZES),
    ("guide::docs/guide/pages.md", SMALL),
    ("guide::docs/howto/frames.md", SMALL),
    ("guide::docs/howto/processes.md", SIZES),
    ("guide::docs/howto/python.md", SIZES),
    ("guide::docs/howto/track.md", SIZES),
    ("guide::docs/reference/command-line.md", SMALL),
];

const SMALL: &str = "the page makes windows of less than 16 KiB";

const SIZES: &str = "the page shows sizes that are those of pages of 4 KiB";

/// The tests that do not run on a processor, as Rust calls it, with pages of so many bytes.
pub(crate) fn left_out(processor: &str, page: usize) -> Vec<(&'static str, &'static str)> {
    let by_processor = match processor {
        "aarch64" => NOT_ON_ARM64,
        _ => &[],
    };
    let by_page = match page {
        4096 => &[],
        _ => NOT_ON_16K,
    };
    [by_processor, by_page].concat()
}
