/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The lesson's user program, as its reader would write it: it knows the node
 * that mknod made, the size of the memory and two numbers, and no header of
 * the driver's.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEM_CLEAR 0x0
#define MEM_RESET 0x1
#define MM_SIZE 4096

int main(void)
{
	char *shm;
	int fd;

	fd = open("/dev/sln_memdev", O_RDWR);
	if (fd < 0) {
		perror("open");
		return 1;
	}
	shm = mmap(NULL, MM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shm == MAP_FAILED) {
		perror("mmap");
		return 1;
	}

	printf("Before Write, shm = %s\n", shm);

	strcpy(shm, "User write to share memory!");
	printf("After write, shm = %s\n", shm);

	if (ioctl(fd, MEM_CLEAR) < 0) {
		perror("MEM_CLEAR");
		return 1;
	}
	printf("After clear, shm = %s\n", shm);

	if (ioctl(fd, MEM_RESET) < 0) {
		perror("MEM_RESET");
		return 1;
	}
	printf("After reset, shm = %s\n", shm);

	munmap(shm, MM_SIZE);
	close(fd);
	return 0;
}
