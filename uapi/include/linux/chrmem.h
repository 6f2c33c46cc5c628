/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * Numbers, structures and flags of the chrmem ioctl interface.
 *
 * Fields called flags and reserved must be zero on the way in, or the call
 * fails with EINVAL, and are zero on the way out. An unknown command fails
 * with ENOTTY. The layout is the same for 32-bit and 64-bit callers.
 */
#ifndef _UAPI_LINUX_CHRMEM_H
#define _UAPI_LINUX_CHRMEM_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define CHRMEM_VERSION		1
#define CHRMEM_REGION_NAME	"chrmem_dev"
#define CHRMEM_RESET_TEXT	"hello, user!"
#define CHRMEM_FILL		'*'
#define CHRMEM_NAME_SIZE	64

/* chrmem_window.memory */
#define CHRMEM_MEMORY_PAGES		0 /* ordinary kernel pages */
#define CHRMEM_MEMORY_CONTIGUOUS	1 /* one physical run of RAM */
#define CHRMEM_MEMORY_DMA		2 /* coherent DMA memory */
#define CHRMEM_MEMORY_PHYSICAL		3 /* an address range that is not RAM */

/* chrmem_window.cache */
#define CHRMEM_CACHE_CACHED		0
#define CHRMEM_CACHE_WRITECOMBINE	1
#define CHRMEM_CACHE_NONCACHED		2

/* chrmem_window.access, bits */
#define CHRMEM_ACCESS_READ	1
#define CHRMEM_ACCESS_WRITE	2

/* chrmem_window.flags, bits */
#define CHRMEM_WINDOW_TRACKED	1 /* stores are noticed: see CHRMEM_IOC_CHANGES */
#define CHRMEM_WINDOW_REVOCABLE	2 /* goes with its hardware: see CHRMEM_WINDOW_GONE */
#define CHRMEM_WINDOW_GONE	4 /* is gone: accesses are SIGBUS, calls ENODEV */

/* chrmem_range.flags of CHRMEM_IOC_SYNC, bits; the file must be open for the access */
#define CHRMEM_SYNC_READ	1 /* the processor reads ... */
#define CHRMEM_SYNC_WRITE	2 /* ... or writes: at least one of them */
#define CHRMEM_SYNC_END		4 /* the access ends; else it begins */

/* chrmem_window.address: not one address, or not for this caller to know */
#define CHRMEM_ADDRESS_UNKNOWN	(~(__u64)0)

/**
 * struct chrmem_info - what CHRMEM_IOC_INFO tells of a device
 * @version: CHRMEM_VERSION
 * @windows: number of windows
 * @size: bytes: the end of the last window
 * @generation: change counter: every clear, reset, write(2) and notify adds one;
 *	with tracked windows they add more, and so does a store that is noticed
 * @page_size: bytes of a page: windows and offsets of mappings are multiples of it
 * @reserved: zero
 */
struct chrmem_info {
	__u32 version;
	__u32 windows;
	__aligned_u64 size;
	__aligned_u64 generation;
	__aligned_u64 page_size;
	__aligned_u64 reserved[4];
};

/**
 * struct chrmem_window - what CHRMEM_IOC_WINDOW tells of one window
 * @index: in: which window, counted from zero in order of offset
 * @flags: in: zero; out: CHRMEM_WINDOW_* bits
 * @offset: where in the device the window starts, in bytes
 * @size: bytes
 * @address: physical or bus address, or CHRMEM_ADDRESS_UNKNOWN
 * @memory: one of CHRMEM_MEMORY_*
 * @cache: one of CHRMEM_CACHE_*
 * @access: CHRMEM_ACCESS_* bits
 * @reserved: zero, in and out
 * @name: the name, ended by a NUL
 */
struct chrmem_window {
	__u32 index;
	__u32 flags;
	__aligned_u64 offset;
	__aligned_u64 size;
	__aligned_u64 address;
	__u32 memory;
	__u32 cache;
	__u32 access;
	__u32 reserved[5];
	char name[CHRMEM_NAME_SIZE];
};

/**
 * struct chrmem_range - a range of a device's offsets
 * @offset: first byte
 * @size: bytes; zero is EINVAL
 * @flags: for CHRMEM_IOC_SYNC, CHRMEM_SYNC_* bits; else zero
 * @reserved: zero
 */
struct chrmem_range {
	__aligned_u64 offset;
	__aligned_u64 size;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct chrmem_change - bytes of one tracked window that may have changed
 * @offset: first byte, counted from the start of the device
 * @size: bytes
 */
struct chrmem_change {
	__aligned_u64 offset;
	__aligned_u64 size;
};

/**
 * struct chrmem_changes - what CHRMEM_IOC_CHANGES asks, and is told
 * @since: in: changes after this generation; zero is all since the device was made
 * @generation: in: zero, or as the call left it that this one goes on with;
 *	out: what the look is complete up to: @since of the next look
 * @offset: in: first byte; out: first byte that was not looked at
 * @size: in: bytes, zero is EINVAL; out: bytes that were not looked at
 * @changes: in: address of an array of struct chrmem_change
 * @room: in: elements of the array, zero is EINVAL
 * @count: out: elements that were filled in
 * @flags: in: zero
 * @reserved: zero, in and out
 *
 * Call again with the structure as it is until @size is zero: then the look is
 * complete.
 */
struct chrmem_changes {
	__aligned_u64 since;
	__aligned_u64 generation;
	__aligned_u64 offset;
	__aligned_u64 size;
	__aligned_u64 changes;
	__u32 room;
	__u32 count;
	__u32 flags;
	__u32 reserved[3];
};

/* The bare numbers that driver textbooks use; no argument. */
#define CHRMEM_MEM_CLEAR	0x0 /* zero every window */
#define CHRMEM_MEM_RESET	0x1 /* the same, then CHRMEM_RESET_TEXT at the start */

#define CHRMEM_IOC_MAGIC	0xD0
#define CHRMEM_IOC_INFO		_IOR(CHRMEM_IOC_MAGIC, 0, struct chrmem_info)
#define CHRMEM_IOC_WINDOW	_IOWR(CHRMEM_IOC_MAGIC, 1, struct chrmem_window)
#define CHRMEM_IOC_CLEAR	_IOW(CHRMEM_IOC_MAGIC, 2, struct chrmem_range)
#define CHRMEM_IOC_RESET	_IO(CHRMEM_IOC_MAGIC, 3)
#define CHRMEM_IOC_NOTIFY	_IO(CHRMEM_IOC_MAGIC, 4)
#define CHRMEM_IOC_SEEN		_IOR(CHRMEM_IOC_MAGIC, 5, __u64)
#define CHRMEM_IOC_SYNC		_IOW(CHRMEM_IOC_MAGIC, 6, struct chrmem_range)
/*
 * The result is the file descriptor of a dma-buf, as writable as file and window.
 * Other drivers can only import one that is writable.
 */
#define CHRMEM_IOC_EXPORT	_IOW(CHRMEM_IOC_MAGIC, 7, struct chrmem_range)
/*
 * Which pages of tracked windows may have changed; the next store to each page is
 * noticed, and the generation that was before the look is marked seen. The file must
 * be open for reading. A range without a tracked window is EOPNOTSUPP.
 */
#define CHRMEM_IOC_CHANGES	_IOWR(CHRMEM_IOC_MAGIC, 8, struct chrmem_changes)

#endif /* _UAPI_LINUX_CHRMEM_H */
