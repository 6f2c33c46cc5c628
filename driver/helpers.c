// SPDX-License-Identifier: GPL-2.0
/*
 * Rust can call neither inline functions nor macros of C. These functions wrap those that the
 * kernel's own rust/helpers lack. abstractions/helpers.rs declares them.
 */

#include <linux/cc_platform.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/huge_mm.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/iommu-dma.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <linux/topology.h>
#include <linux/vmalloc.h>

#ifdef CONFIG_ARM64
#include <asm/cpufeature.h>
#endif

/* abstractions/folio.rs and abstractions/vma.rs compute these from the page size. */
static_assert(PMD_SHIFT - PAGE_SHIFT == PAGE_SHIFT - 3);
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
static_assert(PUD_SHIFT - PAGE_SHIFT == 2 * (PAGE_SHIFT - 3));
#endif

/* Pages */

phys_addr_t chrmem_page_to_phys(const struct page *page)
{
	return page_to_phys(page);
}

struct page *chrmem_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

unsigned long chrmem_virt_to_pfn(const void *address)
{
	return PHYS_PFN(virt_to_phys((void *)address));
}

void chrmem_folio_get(struct folio *folio)
{
	folio_get(folio);
}

void chrmem_folio_lock(struct folio *folio)
{
	folio_lock(folio);
}

bool chrmem_node_has_memory(int node)
{
	return node_state(node, N_MEMORY);
}

int chrmem_numa_mem_id(void)
{
	return numa_mem_id();
}

struct page *chrmem_alloc_pages_node(int node, gfp_t gfp, unsigned int order)
{
	return alloc_pages_node(node, gfp, order);
}

void *chrmem_vmap(struct page **pages, unsigned int count, pgprot_t protection)
{
	return vmap(pages, count, VM_MAP, protection);
}

/* Page tables */

/* The values of PmdState in abstractions/vma.rs. */
unsigned int chrmem_pmd_state(const struct vm_fault *vmf)
{
	pmd_t pmd = pmdp_get_lockless(vmf->pmd);

	if (pmd_none(pmd))
		return 0;
	return pmd_leaf(pmd) ? 2 : 1;
}

bool chrmem_has_pud_entries(void)
{
	return has_transparent_pud_hugepage();
}

#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
bool chrmem_pud_none(const struct vm_fault *vmf)
{
	return pud_none(READ_ONCE(*vmf->pud));
}
#endif

pgprot_t chrmem_page_kernel(void)
{
	return PAGE_KERNEL;
}

bool chrmem_pgprot_write(pgprot_t protection)
{
	return pte_write(__pte(pgprot_val(protection)));
}

pgprot_t chrmem_pgprot_writecombine(pgprot_t protection)
{
	return pgprot_writecombine(protection);
}

/* As ioremap() maps it for the kernel. */
pgprot_t chrmem_pgprot_device(pgprot_t protection)
{
	return pgprot_device(protection);
}

/* Physical addresses */

void __iomem *chrmem_ioremap_cache(phys_addr_t start, size_t size)
{
	return ioremap_cache(start, size);
}

void __iomem *chrmem_ioremap_wc(phys_addr_t start, size_t size)
{
	return ioremap_wc(start, size);
}

phys_addr_t chrmem_last_address(void)
{
#ifdef CONFIG_ARM64
	u64 features = read_sanitised_ftr_reg(SYS_ID_AA64MMFR0_EL1);
	u32 shift = id_aa64mmfr0_parange_to_phys_shift(
		cpuid_feature_extract_unsigned_field(features, ID_AA64MMFR0_EL1_PARANGE_SHIFT));

	return min_t(phys_addr_t, PHYS_MASK, GENMASK_ULL(shift - 1, 0));
#else
	return iomem_resource.end;
#endif
}

bool chrmem_memory_is_encrypted(void)
{
	return cc_platform_has(CC_ATTR_MEM_ENCRYPT);
}

/* Devices */

bool chrmem_use_dma_iommu(struct device *device)
{
	return use_dma_iommu(device);
}

bool chrmem_dev_is_dma_coherent(struct device *device)
{
	return dev_is_dma_coherent(device);
}

bool chrmem_dma_dev_need_sync(const struct device *device)
{
	return dma_dev_need_sync(device);
}

/* Tasks */

void chrmem_set_current_running(void)
{
	__set_current_state(TASK_RUNNING);
}

/* Files */

void chrmem_set_nocmtime(struct file *file)
{
	file->f_mode |= FMODE_NOCMTIME;
}
