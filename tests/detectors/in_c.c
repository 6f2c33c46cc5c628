// SPDX-License-Identifier: GPL-2.0

// The mistakes that Rust cannot make: those that only C is watched for, and those that are hidden in macros.

#include <linux/list.h>
#include <linux/mm.h>

int shift_too_far(int by);
void delete_twice(void);
int free_page_in_a_page_table(void);

int shift_too_far(int by)
{
	return 1 << by;
}

void delete_twice(void)
{
	LIST_HEAD(list);
	struct list_head entry;

	list_add(&entry, &list);
	list_del(&entry);
	list_del(&entry);
}

int free_page_in_a_page_table(void)
{
	struct page *page = alloc_page(GFP_KERNEL);
	pte_t entry = __pte(0);

	if (!page)
		return -ENOMEM;
	set_pte_at(current->mm, 0, &entry, mk_pte(page, PAGE_SHARED));
	__free_page(page);
	return 0;
}
