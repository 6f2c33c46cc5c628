// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests that do not run on every processor, each with its reason. The runner of the tests, which has this file by its
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

/// The tests that do not run on a processor, as Rust calls it.
pub(crate) fn left_out(processor: &str) -> &'static [(&'static str, &'static str)] {
    match processor {
        "aarch64" => NOT_ON_ARM64,
        _ => &[],
    }
}
