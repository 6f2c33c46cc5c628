# SPDX-License-Identifier: MIT OR Apache-2.0
"""Asks the kernel to take hold of a mapping's pages, as O_DIRECT, io_uring and debuggers do."""

import ctypes
import json
import mmap
import os
import subprocess
import sys


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


libc = ctypes.CDLL(None, use_errno=True)
libc.process_vm_readv.restype = ctypes.c_ssize_t


def taken(mapping):
    """What process_vm_readv, which goes through get_user_pages, says of the first 8 bytes."""
    copy = ctypes.create_string_buffer(8)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    to, source = IoVec(ctypes.addressof(copy), 8), IoVec(address, 8)
    count = libc.process_vm_readv(os.getpid(), ctypes.byref(to), 1, ctypes.byref(source), 1, 0)
    return copy.raw if count == 8 else os.strerror(ctypes.get_errno())


info = json.loads(subprocess.check_output(["chrmem", "info", "--json", sys.argv[1]]))
device = os.open(info["node"], os.O_RDWR)
for window in info["windows"]:
    mapping = mmap.mmap(device, window["size"], offset=window["offset"])
    mapping[:8] = b"the byte"
    print(f"{window['name']}: a load gives {bytes(mapping[:8])}, the kernel gives {taken(mapping)}")
