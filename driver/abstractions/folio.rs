// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM that the kernel shares with user space.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/highmem.h`](srctree/include/linux/highmem.h)

use core::{
    marker::PhantomData,
    num::NonZero,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    current,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use super::{
    cache::Cache,
    helpers,
    iov::{
        Destination,
        Source, //
    },
    memory::{
        clamp,
        read_bytes,
        write_bytes,
        SharedMemory, //
    },
    task,
    threads, //
};

#[cfg(not(CONFIG_SPARSEMEM_VMEMMAP))]
compile_error!("the `struct page`s of a run of pages must be an array");

#[cfg(CONFIG_HIGHMEM)]
compile_error!("folios of more than one page need all memory in the kernel's direct mapping");

/// How folios are allocated: zeroed, and failing where otherwise the kernel would fill its log.
const GFP: bindings::gfp_t = bindings::GFP_KERNEL | bindings::__GFP_ZERO | bindings::__GFP_NOWARN;

/// Where otherwise the kernel would kill a process.
const GFP_MAYFAIL: bindings::gfp_t = GFP | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT;

/// Only if it takes little work.
const GFP_EASY: bindings::gfp_t = GFP | 1 << bindings::___GFP_NORETRY_BIT;

/// Charged to the memory cgroup of the current task.
const ACCOUNT: bindings::gfp_t = bindings::GFP_KERNEL_ACCOUNT & !bindings::GFP_KERNEL;

/// Bytes of a `struct page`.
const STRUCT_PAGE: usize = size_of::<bindings::page>();

/// The order of the folios that one huge page-table entry maps: a page table is one page, of entries of eight bytes.
pub(crate) const HUGE: u32 = PAGE_SIZE.ilog2() - 3;

/// Pages of such a folio.
pub(crate) const HUGE_PAGES: usize = 1 << HUGE;

/// Bytes of such a folio.
pub(crate) const HUGE_BYTES: usize = HUGE_PAGES * PAGE_SIZE;

/// Pages that a thread allocates in one go where several share the work: 32 MiB, which take milliseconds, or what a huge entry
/// maps if that is more.
const PART: usize = if (32 << 20) / PAGE_SIZE > HUGE_PAGES {
    (32 << 20) / PAGE_SIZE
} else {
    HUGE_PAGES
};

/// A node of the machine's memory (NUMA): what one of its processors reaches fastest.
///
/// # Invariants
///
/// There was such a node once.
#[derive(Clone, Copy)]
pub(crate) struct Node(c_int);

impl Node {
    /// The node with this number, if it has memory.
    #[cfg(CONFIG_NUMA)]
    pub(crate) fn new(number: u32) -> Option<Self> {
        // SAFETY: Set while memory comes and goes, and never freed.
        let count = unsafe { bindings::nr_node_ids };
        if number >= count {
            return None;
        }
        let number = number as c_int;
        // INVARIANT: It has memory now.
        // SAFETY: The number is below that of all nodes.
        unsafe { helpers::node_has_memory(number) }.then_some(Self(number))
    }

    /// The only one that there is.
    #[cfg(not(CONFIG_NUMA))]
    pub(crate) fn new(number: u32) -> Option<Self> {
        // INVARIANT: It has all of the memory.
        (number == 0).then_some(Self(0))
    }

    /// The one that the current task's memory comes from.
    fn own() -> Self {
        // INVARIANT: It is there now.
        Self(helpers::numa_mem_id())
    }

    /// Allocates pages, there if it can.
    fn alloc(self, gfp: bindings::gfp_t, order: u32) -> *mut bindings::page {
        // SAFETY: By the type's invariant, there is such a node, if perhaps without memory. The flags allow sleeping, and this is
        // called in process context only.
        unsafe { helpers::alloc_pages_node(self.0, gfp, order) }
    }
}

/// Which nodes memory may come from.
#[derive(Clone, Copy)]
enum Place {
    /// As the memory policy of the current task says; without one, the node of its processor first.
    Policy,
    /// This one first.
    Near(Node),
    /// No other.
    Only(Node),
}

impl Place {
    /// Of this node if one is given.
    fn new(node: Option<Node>) -> Self {
        node.map_or(Self::Policy, Self::Only)
    }

    /// The same, where the caller's threads share the work: all of them prefer the node of the caller, and not each its own.
    fn shared(node: Option<Node>) -> Self {
        match node {
            None if prefers_own_node() => Self::Near(Node::own()),
            node => Self::new(node),
        }
    }

    /// Allocates pages.
    fn alloc(self, gfp: bindings::gfp_t, order: u32) -> *mut bindings::page {
        match self {
            // SAFETY: The flags allow sleeping, and this is called in process context only.
            Self::Policy => unsafe { bindings::alloc_pages(gfp, order) },
            Self::Near(node) => node.alloc(gfp, order),
            Self::Only(node) => node.alloc(gfp | 1 << bindings::___GFP_THISNODE_BIT, order),
        }
    }
}

/// Whether there are several nodes, and the current task has no memory policy.
#[cfg(CONFIG_NUMA)]
fn prefers_own_node() -> bool {
    // SAFETY: Set while memory comes and goes, and never freed.
    let count = unsafe { bindings::nr_node_ids };
    // SAFETY: The task is the current one, which alone changes its policy.
    count > 1 && unsafe { (*current!().as_ptr()).mempolicy }.is_null()
}

/// There is only one node.
#[cfg(not(CONFIG_NUMA))]
fn prefers_own_node() -> bool {
    false
}

/// 2 to the `order` zeroed pages in one run, that user space may map while the kernel reads and writes them.
///
/// # Invariants
///
/// The address is that of the first page of a folio, plus the folio's order, which never changes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Folio(NonZero<usize>);

/// The bits of an address of a `struct page` that are zero. Those of a page structure that the memory manager keeps
/// in an array from a whole page on are all of this size.
const ORDER: usize = 15;
const _: () = assert!(STRUCT_PAGE & ORDER == 0 && HUGE as usize <= ORDER);

impl Folio {
    /// # Safety
    ///
    /// `page` must be the first of a folio of this order.
    unsafe fn new(page: NonNull<bindings::page>, order: u32) -> Self {
        // INVARIANT: The caller promises it; the order finds room.
        Self(page.addr() | (order as usize & ORDER))
    }

    /// Allocates a folio, charged to the current memory cgroup. One of more than a page is only given if it takes little
    /// work.
    ///
    /// `index` is the number that its first page has among all pages that it is allocated with.
    fn alloc(order: u32, index: usize, place: Place) -> Result<Self> {
        let gfp = match order {
            0 => GFP_MAYFAIL,
            _ => GFP_EASY | 1 << bindings::___GFP_COMP_BIT,
        };
        // Not `folio_alloc`, which marks a folio of several pages as one that the memory manager may split:
        // debugfs's `split_huge_pages` then follows its `mapping`, which is null.
        let page = NonNull::new(place.alloc(gfp | ACCOUNT, order)).ok_or(ENOMEM)?;
        // The memory manager maps a folio as a whole only if it comes before its file's end. Whoever had the page
        // before may have left any number here.
        // SAFETY: Nobody else knows the folio yet.
        unsafe {
            let folio = &mut (*page.as_ptr().cast::<bindings::folio>()).__bindgen_anon_1;
            folio.__bindgen_anon_1.__bindgen_anon_2.index = index;
        }
        // SAFETY: Pages that are allocated as a compound page are one folio, of this order; so is a single page.
        Ok(unsafe { Self::new(page, order) })
    }

    /// Its first page.
    fn head(self) -> *mut bindings::page {
        (self.0.get() & !ORDER) as *mut bindings::page
    }

    /// Two to this are its pages.
    fn order(self) -> u32 {
        (self.0.get() & ORDER) as u32
    }

    /// Its pages.
    fn pages(self) -> usize {
        1_usize.wrapping_shl(self.order())
    }

    /// Puts a reference to it.
    ///
    /// # Safety
    ///
    /// The reference must be the caller's, who does not use it after this.
    unsafe fn put(self) {
        let (head, pages) = (self.head(), self.pages());
        // SAFETY: By the type's invariant, the folio has so many pages.
        if pages > 1 && unsafe { has_failed_page(head, pages) } {
            // The kernel keeps a single page that has failed from being used again, but not one inside of a
            // folio, nor can a folio be split that is in no file's cache.
            pr_warn!(
                "{} bytes are lost: memory in them has failed\n",
                pages.saturating_mul(PAGE_SIZE)
            );
            return;
        }
        // SAFETY: The caller promises the reference.
        unsafe { bindings::__free_pages(head, self.order()) };
    }
}

/// Pages of RAM in order.
///
/// # Invariants
///
/// Entry `n` of `table` is the folio that has page `n << grain`, whose number is a multiple of that folio's pages. None has
/// fewer than `1 << grain` pages. All are one after the other: a folio has as many entries as it needs, the last as well.
/// Each has a reference that is ours.
pub(crate) struct Folios {
    table: KVVec<Folio>,
    grain: u32,
}

// SAFETY: A folio belongs to no thread: its last reference can be put anywhere.
unsafe impl Send for Folios {}

// SAFETY: What can be done with `&Folios` is done by C functions that may run at the same time, or by volatile copies of
// bytes.
unsafe impl Sync for Folios {}

impl Folios {
    /// None, with an entry for each 2 to the `grain` pages, and room for as many as `count` single pages need. It may
    /// come to that, and then there is no memory for more.
    fn with_capacity(count: usize, grain: u32) -> Result<Self> {
        let table = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        // INVARIANT: There are no folios.
        Ok(Self { table, grain })
    }

    /// How many pages there are.
    pub(crate) fn pages(&self) -> usize {
        self.table.len().wrapping_shl(self.grain)
    }

    /// Allocates `count` pages, charged to the current memory cgroup, in folios as large as their place allows, up to
    /// what a huge entry maps, and as can be had for little work. If a node is given, all are of it.
    pub(crate) fn natural(count: usize, node: Option<Node>) -> Result<Self> {
        Self::natural_part(0, count, Place::new(node), &|_| ())
    }

    /// The same for `count` pages of a larger allocation, from page `first` on, a multiple of [`HUGE_PAGES`]. Calls `tell` with the
    /// number of pages after each step.
    fn natural_part(
        first: usize,
        count: usize,
        place: Place,
        tell: &dyn Fn(usize),
    ) -> Result<Self> {
        let mut this = Self::with_capacity(count, count.trailing_zeros().min(HUGE))?;
        let mut most = HUGE;
        let mut at: usize = 0;
        while at < count {
            if task::is_killed() {
                return Err(EINTR);
            }
            let left = count.saturating_sub(at);
            let order = most.min(left.ilog2()).min(at.trailing_zeros());
            match Folio::alloc(order, first.saturating_add(at), place) {
                Ok(folio) => {
                    at = at.saturating_add(folio.pages());
                    this.push(folio)?;
                    tell(folio.pages());
                    if at % HUGE_PAGES == 0 {
                        // What was not to be had there may be to be had here.
                        most = HUGE;
                    }
                }
                Err(error) if order == 0 => return Err(error),
                // Nor will be the next.
                Err(_) => most = order.saturating_sub(1),
            }
        }
        // If there is no memory to do it with, it stays as it is.
        let _ = this.table.shrink_to(0, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
        Ok(this)
    }

    /// Adds a folio behind the others.
    fn push(&mut self, folio: Folio) -> Result {
        let has_room = self.refine(folio.order()).and_then(|()| {
            let entries = folio.pages().wrapping_shr(self.grain);
            self.table.reserve(entries, GFP_KERNEL_ACCOUNT)?;
            Ok(entries)
        });
        let entries = has_room.inspect_err(|_| {
            // SAFETY: The reference was to be ours, and nobody else has it.
            unsafe { folio.put() };
        })?;
        for _ in 0..entries {
            // There is room.
            self.table.push(folio, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Sees to it that the table can have folios of this order.
    fn refine(&mut self, order: u32) -> Result {
        let finer = self.grain.saturating_sub(order);
        if finer == 0 {
            return Ok(());
        }
        // INVARIANT: Each entry becomes 2 to the `finer` of the same folio.
        if let Some(&last) = self.table.last() {
            let len = self.table.len().wrapping_shl(finer);
            self.table
                .reserve(len.saturating_sub(self.table.len()), GFP_KERNEL_ACCOUNT)?;
            while self.table.len() < len {
                // There is room.
                self.table.push(last, GFP_KERNEL)?;
            }
            for at in (0..len).rev() {
                if let Some(&folio) = self.table.get(at.wrapping_shr(finer)) {
                    if let Some(entry) = self.table.get_mut(at) {
                        *entry = folio;
                    }
                }
            }
        }
        self.grain = order;
        Ok(())
    }

    /// Allocates `count` single pages, wherever they are but in runs where that takes little work, charged to the current
    /// memory cgroup. If a node is given, all are of it.
    pub(crate) fn single(count: usize, node: Option<Node>) -> Result<Self> {
        Self::single_part(0, count, Place::new(node), &|_| ())
    }

    /// The same for `count` pages of a larger allocation, from page `first` on. Calls `tell` with the number of pages after each
    /// step.
    fn single_part(first: usize, count: usize, place: Place, tell: &dyn Fn(usize)) -> Result<Self> {
        let mut this = Self::with_capacity(count, 0)?;
        let mut order = HUGE;
        while this.pages() < count {
            if task::is_killed() {
                return Err(EINTR);
            }
            let at = this.pages();
            order = order.min(count.saturating_sub(at).ilog2());
            if order == 0 {
                this.push(Folio::alloc(0, first.saturating_add(at), place)?)?;
            } else if this.push_run(order, place).is_err() {
                // None so long is free; nor will be the next.
                order = order.saturating_sub(1);
            }
            tell(this.pages().saturating_sub(at));
        }
        Ok(this)
    }

    /// Allocates `count` pages as [`Self::natural`] or, if `single`, [`Self::single`] does. All processors that the current task may
    /// use share the work, in threads called `name`, which call `tell` with the number of pages after each step.
    pub(crate) fn shared(
        name: &CStr,
        count: usize,
        single: bool,
        node: Option<Node>,
        tell: &(dyn Fn(usize) + Sync),
    ) -> Result<Self> {
        let place = Place::shared(node);
        let number_of_parts = count.div_ceil(PART);
        let mut parts = KVVec::with_capacity(number_of_parts, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..number_of_parts {
            parts.push(None, GFP_KERNEL)?;
        }
        let parts = KBox::pin_init(new_mutex!(parts, "Folios::shared"), GFP_KERNEL_ACCOUNT)?;
        threads::for_each(name, number_of_parts, |number| {
            let first = number.saturating_mul(PART);
            let len = count.saturating_sub(first).min(PART);
            let part = if single {
                Self::single_part(first, len, place, tell)?
            } else {
                Self::natural_part(first, len, place, tell)?
            };
            if let Some(slot) = parts.lock().get_mut(number) {
                *slot = Some(part);
            }
            Ok(())
        })?;
        let mut parts = core::mem::take(&mut *parts.lock());
        Self::join(&mut parts)
    }

    /// Joins parts of an allocation, in order. Each but the last has [`PART`] pages.
    fn join(parts: &mut [Option<Self>]) -> Result<Self> {
        let mut grain = HUGE;
        let mut count: usize = 0;
        for part in parts.iter() {
            let part = part.as_ref().ok_or(ENOMEM)?;
            grain = grain.min(part.grain);
            count = count.saturating_add(part.pages());
        }
        let mut this = Self::with_capacity(count.wrapping_shr(grain), grain)?;
        for mut part in parts.iter_mut().filter_map(Option::take) {
            let copies = 1_usize.wrapping_shl(part.grain.saturating_sub(grain));
            // INVARIANT: There are none in the part any more, whose references are now ours.
            for folio in &core::mem::take(&mut part.table) {
                for _ in 0..copies {
                    // There is room.
                    this.table.push(*folio, GFP_KERNEL)?;
                }
            }
        }
        Ok(this)
    }

    /// Adds 2 to the `order` pages, at least two, in one physical run, each with a life of its own. There is room for them.
    fn push_run(&mut self, order: u32, place: Place) -> Result {
        let first = NonNull::new(place.alloc(GFP_EASY | ACCOUNT, order)).ok_or(ENOMEM)?;
        // SAFETY: The pages were just allocated in one, not as a compound page, and are ours.
        unsafe { bindings::split_page(first.as_ptr(), order) };
        for index in 0..1_usize.wrapping_shl(order) {
            // SAFETY: The `struct page`s of the run are an array, and `index` is inside it. Since they were split, the pages
            // are of order 0.
            let page = unsafe { Folio::new(first.add(index), 0) };
            // INVARIANT: Each has a reference that is now ours.
            self.table.push(page, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Allocates `count` pages, more than zero, one physical run, by moving others out of the way: one folio, where they
    /// are as many as one can have, or single pages.
    ///
    /// Single pages are not charged to a memory cgroup: the kernel has no way to.
    pub(crate) fn contiguous(count: usize, node: Option<Node>) -> Result<Self> {
        if let Some(this) = Self::one(count, node) {
            return Ok(this);
        }
        Self::run(count, node)
    }

    /// One folio of `count` pages, if there can be one and one is to be had for little work.
    fn one(count: usize, node: Option<Node>) -> Option<Self> {
        let order = count.trailing_zeros();
        if !count.is_power_of_two() || order > HUGE {
            return None;
        }
        let mut this = Self::with_capacity(1, order).ok()?;
        this.push(Folio::alloc(order, 0, Place::new(node)).ok()?)
            .ok()?;
        Some(this)
    }

    /// Single pages in one physical run.
    pub(crate) fn run(count: usize, node: Option<Node>) -> Result<Self> {
        let mut this = Self::with_capacity(count, 0)?;
        let (node, gfp) = match node {
            Some(Node(number)) => (number, GFP_MAYFAIL | 1 << bindings::___GFP_THISNODE_BIT),
            // The node to start at: there must be one.
            None => (Node::own().0, GFP_MAYFAIL),
        };
        // SAFETY: The flags allow sleeping, and this is called in process context only; the node has memory, and
        // no other is left out but by the flags.
        let first =
            unsafe { bindings::alloc_contig_pages_noprof(count, gfp, node, core::ptr::null_mut()) };
        let first = NonNull::new(first).ok_or(ENOMEM)?;
        for index in 0..count {
            // SAFETY: `index` is inside the run, whose `struct page`s are an array of pages of order 0.
            let page = unsafe { Folio::new(first.add(index), 0) };
            // INVARIANT: Each has a reference that is now ours. There is room in the vector, so that this loop always
            // reaches the end of the run.
            this.table.push(page, GFP_KERNEL)?;
        }
        Ok(this)
    }

    /// The folio that has page `index`, and where in it.
    #[inline]
    fn find(&self, index: usize) -> Option<(Folio, usize)> {
        let folio = *self.table.get(index.wrapping_shr(self.grain))?;
        Some((folio, index & folio.pages().wrapping_sub(1)))
    }

    /// Page `index`.
    #[inline]
    pub(crate) fn page(&self, index: usize) -> Option<FolioPage<'_>> {
        let (folio, within) = self.find(index)?;
        let head = folio.head();
        Some(FolioPage {
            head: NonNull::new(head)?,
            // INVARIANT: The `struct page`s of a folio are an array, and `within` is inside it.
            page: NonNull::new(head.wrapping_add(within))?,
            order: folio.order(),
            cache: Cache::Cached,
            _folio: PhantomData,
        })
    }

    /// Page `index` and those after it that follow it in memory. They are as many as can be, but go on behind `most` only
    /// where that takes no work.
    pub(crate) fn run_at(&self, index: usize, most: usize) -> Option<Run<'_>> {
        let (folio, within) = self.find(index)?;
        let first = folio.head().wrapping_add(within);
        let mut pages = folio.pages().wrapping_sub(within);
        while pages < most {
            match self.find(index.wrapping_add(pages)) {
                // The `struct page`s of pages behind each other are, too.
                Some((next, _)) if next.head() == first.wrapping_add(pages) => {
                    pages = pages.wrapping_add(next.pages());
                }
                _ => break,
            }
        }
        // INVARIANT: Each folio was seen to be behind the one before it.
        Some(Run {
            first: NonNull::new(first)?,
            pages,
            _folios: PhantomData,
        })
    }

    /// Whether there are folios that a huge entry can map.
    pub(crate) fn has_huge(&self) -> bool {
        // Their first pages have numbers that are multiples of their pages.
        let step = HUGE_PAGES.wrapping_shr(self.grain).max(1);
        let mut firsts = self.table.iter().step_by(step);
        firsts.any(|folio| folio.order() == HUGE)
    }

    /// The pages as the array of pointers that C takes; `None` if they are not all single ones.
    pub(super) fn as_array(&self) -> Option<&[*mut bindings::page]> {
        if self.table.iter().any(|folio| folio.order() != 0) {
            return None;
        }
        let first = self.table.as_ptr().cast();
        // SAFETY: `Folio` is a transparent wrapper of an address, and with the order 0, of that of a page.
        Some(unsafe { core::slice::from_raw_parts(first, self.table.len()) })
    }
}

impl Drop for Folios {
    fn drop(&mut self) {
        let mut at = 0;
        while let Some(folio) = self.table.get(at) {
            // A folio has no fewer pages than an entry.
            at = at.saturating_add(folio.pages().wrapping_shr(self.grain));
            // SAFETY: By the type's invariant, the reference is ours, and each folio comes once.
            unsafe { folio.put() };
        }
    }
}

/// Pages that lie behind each other in memory.
///
/// # Invariants
///
/// There are `pages` pages from `first` on in one run, at least one, which stay for `'a`.
pub(crate) struct Run<'a> {
    first: NonNull<bindings::page>,
    pages: usize,
    _folios: PhantomData<&'a Folios>,
}

impl Run<'_> {
    /// Bytes of the run.
    pub(crate) fn size(&self) -> usize {
        self.pages.saturating_mul(PAGE_SIZE)
    }

    /// Calls `f` with the address that it has in the kernel meanwhile.
    fn with_address<R>(&self, f: impl FnOnce(*mut u8) -> R) -> R {
        // SAFETY: The page is valid. Without high memory, what follows its address is the rest of
        // the run.
        let address = unsafe { bindings::kmap_local_page(self.first.as_ptr()) };
        let result = f(address.cast());
        // SAFETY: `address` is what `kmap_local_page` gave in this very function, and nothing
        // mapped after it is left.
        unsafe { bindings::kunmap_local(address) };
        result
    }
}

impl SharedMemory for Run<'_> {
    fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize {
        let (start, len) = clamp(self.size(), start, len);
        // SAFETY: `address` is that of the memory, the range lies in it, and the iterator is a valid
        // destination.
        self.with_address(|address| unsafe {
            bindings::_copy_to_iter(address.add(start).cast(), len, to.as_raw())
        })
    }

    fn copy_from(&self, start: usize, len: usize, from: &mut Source<'_>) -> usize {
        let (start, len) = clamp(self.size(), start, len);
        // SAFETY: `address` is that of the memory, the range lies in it, and the iterator is a valid
        // source.
        self.with_address(|address| unsafe {
            bindings::_copy_from_iter(address.add(start).cast(), len, from.as_raw())
        })
    }

    fn fill(&self, start: usize, len: usize, byte: u8) {
        let (start, len) = clamp(self.size(), start, len);
        // SAFETY: `address` is that of the memory, and the range lies in it. `memset` is the
        // kernel's, which may run while others use the memory.
        self.with_address(|address| unsafe {
            bindings::memset(address.add(start).cast(), c_int::from(byte), len);
        });
    }

    fn write(&self, start: usize, bytes: &[u8]) {
        let (start, len) = clamp(self.size(), start, bytes.len());
        let bytes = bytes.get(..len).unwrap_or_default();
        // SAFETY: `address` is that of the memory, and the range lies in it.
        self.with_address(|address| unsafe { write_bytes(address.add(start), bytes) });
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        let (start, len) = clamp(self.size(), start, bytes.len());
        let bytes = bytes.get_mut(..len).unwrap_or_default();
        // SAFETY: `address` is that of the memory, and the range lies in it.
        self.with_address(|address| unsafe { read_bytes(address.add(start), bytes) });
    }
}

/// A page of a folio that cannot go away.
///
/// # Invariants
///
/// `page` is one of the pages of the folio of this order that starts at `head`, which has a
/// reference for `'a`. The kernel's mapping of it has the mode `cache`.
pub(crate) struct FolioPage<'a> {
    head: NonNull<bindings::page>,
    page: NonNull<bindings::page>,
    order: u32,
    cache: Cache,
    _folio: PhantomData<&'a ()>,
}

impl FolioPage<'_> {
    /// The same page, known to have another cache mode.
    ///
    /// # Safety
    ///
    /// The kernel's mapping of the page must have this mode while `self` lives.
    pub(super) unsafe fn with_cache(self, cache: Cache) -> Self {
        // INVARIANT: The caller promises the mode.
        Self { cache, ..self }
    }

    /// How the processor caches it.
    pub(super) fn cache(&self) -> Cache {
        self.cache
    }

    /// The page and where its folio ends: what is between has the same cache mode.
    pub(super) fn rest(&self) -> (*mut bindings::page, *mut bindings::page) {
        let pages = 1_usize.wrapping_shl(self.order);
        (self.as_raw(), self.head.as_ptr().wrapping_add(pages))
    }

    /// Takes another reference, for a page table entry that is being made.
    pub(super) fn get(&self) -> *mut bindings::page {
        // SAFETY: By the type's invariant, the folio has a reference.
        unsafe { helpers::folio_get(self.head.as_ptr().cast()) };
        self.as_raw()
    }

    /// The page, without another reference.
    pub(super) fn as_raw(&self) -> *mut bindings::page {
        self.page.as_ptr()
    }

    /// Locks the folio, if a huge entry can map it: so does the memory manager while it makes
    /// page-table entries, so that nobody makes a small one where somebody else makes a huge one.
    pub(super) fn lock_huge(&self) -> Option<LockedFolio<'_>> {
        (self.order == HUGE).then(|| self.lock())
    }

    /// Locks its folio, which may sleep. Nobody makes an entry of it writable meanwhile that the memory manager asks about.
    pub(crate) fn lock(&self) -> LockedFolio<'_> {
        // SAFETY: The folio is valid, and this is called in process context only, where it may sleep.
        unsafe { helpers::folio_lock(self.head.as_ptr().cast()) };
        // INVARIANT: It was locked here.
        LockedFolio(self)
    }

    /// Where in the folio it is, and how many pages that has.
    pub(super) fn place(&self) -> (u64, u64) {
        // The type's invariant: the `struct page`s of a folio are an array.
        let bytes = (self.page.as_ptr() as usize).wrapping_sub(self.head.as_ptr() as usize);
        ((bytes / STRUCT_PAGE) as u64, 1_u64.wrapping_shl(self.order))
    }

    /// Whether one of the folio's pages has failed.
    pub(super) fn is_in_failed(&self) -> bool {
        // SAFETY: By the type's invariant, the folio has so many pages.
        unsafe { has_failed_page(self.head.as_ptr(), 1_usize.wrapping_shl(self.order)) }
    }

    /// The folio, if a huge entry can map it: this is its first page, and none of its pages has failed.
    pub(super) fn huge(&self) -> Option<*mut bindings::folio> {
        if self.order != HUGE || self.page != self.head || self.is_in_failed() {
            return None;
        }
        Some(self.head.as_ptr().cast())
    }

    /// Whether its bytes are lost, because the memory of the machine failed. To access it could end in a panic.
    pub(super) fn has_failed(&self) -> bool {
        // SAFETY: By the type's invariant, the page is valid.
        unsafe { has_failed_page(self.page.as_ptr(), 1) }
    }

    /// Its physical address.
    pub(crate) fn address(&self) -> u64 {
        // SAFETY: By the type's invariant, the page is valid.
        unsafe { helpers::page_to_phys(self.page.as_ptr()) }
    }
}

/// A folio that is locked until this is dropped.
///
/// # Invariants
///
/// The folio of the page is locked by us.
pub(crate) struct LockedFolio<'a>(&'a FolioPage<'a>);

impl LockedFolio<'_> {
    /// The page by which it was locked.
    pub(super) fn page(&self) -> &FolioPage<'_> {
        self.0
    }

    /// Leaves it locked, for somebody else to unlock.
    pub(super) fn leave(self) {
        core::mem::forget(self);
    }
}

impl Drop for LockedFolio<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::folio_unlock(self.0.head.as_ptr().cast()) };
    }
}

/// Whether some memory of the machine has failed since it was booted. Until then, no page need be looked at.
///
/// `memory_failure` marks the page before it counts it. A page that is looked at in between is as one that fails a
/// moment later.
#[inline]
pub(crate) fn has_failed_memory() -> bool {
    #[cfg(all(CONFIG_MEMORY_FAILURE, CONFIG_NUMA))]
    let failed = {
        let nodes = &raw const bindings::node_data;
        // SAFETY: Set at boot, and never changed.
        let count = unsafe { bindings::nr_node_ids } as usize;
        (0..count).any(|number| {
            // SAFETY: The array has an element for each number of a node, which is null or a node that stays. The
            // counter is only ever counted up.
            unsafe {
                let node = nodes.cast::<*const bindings::pglist_data>().add(number);
                let node = node.read_volatile();
                !node.is_null() && (&raw const (*node).mf_stats.total).read_volatile() != 0
            }
        })
    };
    #[cfg(all(CONFIG_MEMORY_FAILURE, not(CONFIG_NUMA)))]
    // SAFETY: The only node is there for ever; the counter is only ever counted up.
    let failed =
        unsafe { (&raw const bindings::contig_page_data.mf_stats.total).read_volatile() } != 0;
    #[cfg(not(CONFIG_MEMORY_FAILURE))]
    let failed = false;
    failed
}

/// Whether one of `count` pages from `first` on has failed.
///
/// # Safety
///
/// `first` must be the first of so many valid pages, whose `struct page`s are an array.
#[cfg(CONFIG_MEMORY_FAILURE)]
pub(super) unsafe fn has_failed_page(first: *mut bindings::page, count: usize) -> bool {
    const FAILED: usize = 1 << bindings::pageflags_PG_hwpoison;
    has_failed_memory()
        && (0..count).any(|index| {
            // SAFETY: The caller promises the page; its flags are only ever changed atomically.
            let flags = unsafe { Atomic::from_ptr(&raw mut (*first.add(index)).flags.f) };
            flags.load(Relaxed) & FAILED != 0
        })
}

/// Nobody notes here that pages have failed.
///
/// # Safety
///
/// Takes anything.
#[cfg(not(CONFIG_MEMORY_FAILURE))]
pub(super) unsafe fn has_failed_page(_first: *mut bindings::page, _count: usize) -> bool {
    false
}

/// The page of a page frame of RAM; `None` if the frame is of something else.
///
/// The pointer is to be followed only by who knows that the page is not freed.
pub(super) fn page_of_frame(frame: u64) -> Option<*mut bindings::page> {
    // SAFETY: Takes any frame number.
    if unsafe { bindings::page_is_ram(frame as usize) } == 0 {
        return None;
    }
    // SAFETY: Takes any frame number.
    Some(unsafe { helpers::pfn_to_page(frame as c_ulong) })
}

/// Pages that can be allocated without driving the system into swapping or killing.
pub(crate) fn available_pages() -> u64 {
    // SAFETY: Only reads counters.
    let pages = unsafe { bindings::si_mem_available() };
    u64::try_from(pages).unwrap_or(0)
}
