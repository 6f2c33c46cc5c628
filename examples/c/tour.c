/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A tour of a chrmem device in C: what it is, its memory in a mapping, and
 * waiting for a change that another process makes.
 *
 *     cc -Wall -Wextra -pedantic -I ../../uapi/include -o tour tour.c
 *     ./tour /dev/chrmem0
 *
 * What is in the device is gone afterwards.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/chrmem.h>

/* Says what failed, and why, and ends the program. */
static void fail(const char *format, ...)
{
	const char *reason = strerror(errno);
	va_list values;

	fputs("error: cannot ", stderr);
	va_start(values, format);
	vfprintf(stderr, format, values);
	va_end(values);
	fprintf(stderr, ": %s\n", reason);
	exit(EXIT_FAILURE);
}

static const char *name_of_memory(__u32 memory)
{
	switch (memory) {
	case CHRMEM_MEMORY_PAGES:
		return "pages";
	case CHRMEM_MEMORY_CONTIGUOUS:
		return "contiguous";
	case CHRMEM_MEMORY_DMA:
		return "dma";
	case CHRMEM_MEMORY_PHYSICAL:
		return "physical";
	default:
		return "unknown";
	}
}

/* Prints what the device tells of itself; gives its first window. */
static struct chrmem_window describe(int fd)
{
	struct chrmem_window first = { .index = 0 };
	struct chrmem_info info;

	if (ioctl(fd, CHRMEM_IOC_INFO, &info) < 0)
		fail("ask for the description of the device");
	printf("%" PRIu64 " bytes in %" PRIu32 " windows\n", (uint64_t)info.size,
	       (uint32_t)info.windows);

	for (__u32 index = info.windows; index-- > 0;) {
		/* Everything but the index must be zero. */
		struct chrmem_window window = { .index = index };

		if (ioctl(fd, CHRMEM_IOC_WINDOW, &window) < 0)
			fail("ask for window %" PRIu32, (uint32_t)index);
		printf("window %" PRIu32 ", %s: %" PRIu64 " bytes at %" PRIu64 ", %s\n",
		       (uint32_t)index, window.name, (uint64_t)window.size,
		       (uint64_t)window.offset, name_of_memory(window.memory));
		first = window;
	}
	return first;
}

/* Copies text into memory that others may read at any time. */
static void store(volatile char *memory, const char *text)
{
	do {
		*memory++ = *text;
	} while (*text++);
}

/* Copies text out of memory that others may write at any time. */
static const char *load(const volatile char *memory)
{
	static char text[64];
	size_t at = 0;

	while (at < sizeof(text) - 1 && (text[at] = memory[at]))
		at++;
	text[at] = '\0';
	return text;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/dev/chrmem0";
	struct chrmem_window window;
	struct chrmem_range range = { 0 };
	volatile char *memory;
	struct pollfd poller;
	__u64 generation;
	int status;
	pid_t child;
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail("open %s", path);
	window = describe(fd);

	/* The mapping is the memory: no copy, no system call. */
	memory = mmap(NULL, window.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      (off_t)window.offset);
	if (memory == MAP_FAILED)
		fail("map window 0 of %s", path);
	store(memory, "stored in C");
	printf("stored: %s\n", load(memory));

	/* Clear a range: offsets are those of the device. */
	range.offset = window.offset + 6;
	range.size = window.size - 6;
	if (ioctl(fd, CHRMEM_IOC_CLEAR, &range) < 0)
		fail("clear a part of %s", path);
	printf("cleared from byte 6 on: %s\n", load(memory));

	/* From here on, only what is new wakes us. */
	if (ioctl(fd, CHRMEM_IOC_SEEN, &generation) < 0)
		fail("ask for the generation of %s", path);
	fflush(stdout);
	child = fork();
	if (child < 0)
		fail("start another process");
	if (child == 0) {
		/* Stores through a mapping are silent, until somebody says so. */
		store(memory, "hello from another process");
		_exit(ioctl(fd, CHRMEM_IOC_NOTIFY) < 0);
	}
	poller.fd = fd;
	poller.events = POLLIN;
	if (poll(&poller, 1, 10000) != 1)
		fail("wait for a change of %s", path);
	printf("woken: %s\n", load(memory));
	if (waitpid(child, &status, 0) != child || status != 0)
		fail("end the other process");

	munmap((void *)memory, window.size);
	close(fd);
	return EXIT_SUCCESS;
}
