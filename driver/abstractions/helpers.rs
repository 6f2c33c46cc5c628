// SPDX-License-Identifier: GPL-2.0

//! Inline functions and macros of C, as `helpers.c` wraps them.

use kernel::{
    bindings,
    prelude::*, //
};

#[allow(improper_ctypes)] // An empty struct inside `page` is as it is in C.
unsafe extern "C" {
    /// Takes the pointer to any page's `struct page`.
    #[link_name = "chrmem_page_to_phys"]
    pub(super) fn page_to_phys(page: *const bindings::page) -> bindings::phys_addr_t;
    /// Takes any number.
    #[link_name = "chrmem_pfn_to_page"]
    pub(super) fn pfn_to_page(number: c_ulong) -> *mut bindings::page;
    /// Takes an address in the kernel's direct mapping.
    #[link_name = "chrmem_virt_to_pfn"]
    pub(super) fn virt_to_pfn(address: *const c_void) -> c_ulong;
    /// Takes a folio that has a reference.
    #[link_name = "chrmem_folio_get"]
    pub(super) fn folio_get(folio: *mut bindings::folio);
    /// Takes a folio that has a reference. It may sleep.
    #[link_name = "chrmem_folio_lock"]
    pub(super) fn folio_lock(folio: *mut bindings::folio);
    /// Takes a number below `nr_node_ids`.
    #[cfg(CONFIG_NUMA)]
    #[link_name = "chrmem_node_has_memory"]
    pub(super) fn node_has_memory(number: c_int) -> bool;
    /// Takes nothing.
    #[link_name = "chrmem_numa_mem_id"]
    pub(super) safe fn numa_mem_id() -> c_int;
    /// Takes a node that was there once, and flags that fit to the context.
    #[link_name = "chrmem_alloc_pages_node"]
    pub(super) fn alloc_pages_node(
        node: c_int,
        gfp: bindings::gfp_t,
        order: c_uint,
    ) -> *mut bindings::page;
    /// Takes an array of so many valid pages.
    #[link_name = "chrmem_vmap"]
    pub(super) fn vmap(
        pages: *mut *mut bindings::page,
        count: c_uint,
        protection: bindings::pgprot_t,
    ) -> *mut c_void;

    /// Takes a fault that is being answered.
    #[link_name = "chrmem_pmd_state"]
    pub(super) fn pmd_state(vmf: *const bindings::vm_fault) -> c_uint;
    /// Takes nothing.
    #[link_name = "chrmem_has_pud_entries"]
    pub(super) safe fn has_pud_entries() -> bool;
    /// Takes a fault that is being answered, by an entry of this size.
    #[cfg(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP)]
    #[link_name = "chrmem_pud_none"]
    pub(super) fn pud_none(vmf: *const bindings::vm_fault) -> bool;
    /// The protection of the kernel's own memory.
    #[link_name = "chrmem_page_kernel"]
    pub(super) safe fn page_kernel() -> bindings::pgprot_t;
    /// Takes any protection. Whether the processor may write what is mapped with it.
    #[link_name = "chrmem_pgprot_write"]
    pub(super) safe fn pgprot_write(protection: bindings::pgprot_t) -> bool;
    /// Takes any protection.
    #[link_name = "chrmem_pgprot_writecombine"]
    pub(super) safe fn pgprot_writecombine(protection: bindings::pgprot_t) -> bindings::pgprot_t;
    /// Takes any protection. The result is how `ioremap` maps.
    #[link_name = "chrmem_pgprot_device"]
    pub(super) safe fn pgprot_device(protection: bindings::pgprot_t) -> bindings::pgprot_t;

    /// Takes a range that is not RAM.
    #[link_name = "chrmem_ioremap_cache"]
    pub(super) fn ioremap_cache(start: bindings::phys_addr_t, size: usize) -> *mut c_void;
    /// Takes a range that is not RAM.
    #[link_name = "chrmem_ioremap_wc"]
    pub(super) fn ioremap_wc(start: bindings::phys_addr_t, size: usize) -> *mut c_void;
    /// The last physical address that the processor can use.
    #[link_name = "chrmem_last_address"]
    pub(super) safe fn last_address() -> bindings::phys_addr_t;
    /// Whether the machine encrypts its memory.
    #[link_name = "chrmem_memory_is_encrypted"]
    pub(super) safe fn memory_is_encrypted() -> bool;

    /// Takes a valid device.
    #[link_name = "chrmem_use_dma_iommu"]
    pub(super) fn use_dma_iommu(device: *mut bindings::device) -> bool;
    /// Takes a valid device.
    #[link_name = "chrmem_dev_is_dma_coherent"]
    pub(super) fn dev_is_dma_coherent(device: *mut bindings::device) -> bool;
    /// Takes a valid device.
    #[link_name = "chrmem_dma_dev_need_sync"]
    pub(super) fn dma_dev_need_sync(device: *const bindings::device) -> bool;

    /// Takes nothing. A task that is running and was about to wait goes on.
    #[link_name = "chrmem_set_current_running"]
    pub(super) safe fn set_current_running();
    /// Takes a file that nobody else uses yet.
    #[link_name = "chrmem_set_nocmtime"]
    pub(super) fn set_nocmtime(file: *mut bindings::file);
}
