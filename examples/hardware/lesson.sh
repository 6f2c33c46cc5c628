#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The second lesson's driver, made with configfs alone: several buffers behind one device, each at an offset of its own,
# noncached and locked. The mmap offset chooses the buffer; an offset where there is none is ENXIO.
set -eu

chrmem create lesson \
    buf0:4K,offset=0,cache=noncached \
    buf1:4K,offset=64K,cache=noncached \
    start:1M,offset=16M,memory=contiguous,cache=noncached
chrmem info lesson

python3 - /dev/chrmem-lesson <<'END'
import mmap, os, sys

device = os.open(sys.argv[1], os.O_RDWR)
for name, offset in [("buf0", 0), ("buf1", 64 << 10), ("start", 16 << 20)]:
    with mmap.mmap(device, 4096, offset=offset) as mapping:
        mapping[0:5] = name.ljust(5).encode()
for offset in [0, 64 << 10, 16 << 20]:
    print(offset, os.pread(device, 5, offset).decode())
try:
    mmap.mmap(device, 4096, offset=4096)
except OSError as error:
    print(4096, error.strerror)
END

chrmem destroy lesson
