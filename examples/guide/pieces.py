# SPDX-License-Identifier: MIT OR Apache-2.0
"""Cuts a hole into a mapping, copies it by fork, and looks whether every page is still the right one."""

import ctypes
import mmap
import os
import sys

PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

device = os.open(sys.argv[1], os.O_RDWR)
for page in range(4):
    os.pwrite(device, f"page {page}".encode(), page * PAGE)
mapping = mmap.mmap(device, 4 * PAGE)
start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def mappings():
    with open(f"/proc/self/fdinfo/{device}") as lines:
        return next(line.split()[1] for line in lines if line.startswith("chrmem-mappings"))


print("mapped:", mappings())
libc.munmap(start + PAGE, PAGE)
print("a page in the middle unmapped:", mappings(), flush=True)
if os.fork() == 0:
    # In the child.
    print("after fork:", mappings())
    print([mapping[page * PAGE : page * PAGE + 6].decode() for page in (0, 2, 3)], flush=True)
    os._exit(0)
os.wait()
print("after the child:", mappings())
# The rest of the mapping goes with the process: Python's own unmap does not know of the hole.
sys.stdout.flush()
os._exit(0)
