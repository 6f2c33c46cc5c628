# SPDX-License-Identifier: MIT OR Apache-2.0
"""One process stores into a tracked window. The other one is told where, without a word from the first."""

import ctypes
import fcntl
import mmap
import os
import select
import struct
import sys

CHANGES = 3 << 30 | 64 << 16 | 0xD0 << 8 | 8  # CHRMEM_IOC_CHANGES
SIZE = 64 << 10
ROOM = 16


def changes(device, since):
    """The ranges that have changed after a generation, and the generation for the next look."""
    found = ctypes.create_string_buffer(16 * ROOM)
    address = ctypes.addressof(found)
    look = bytearray(struct.pack("5Q6I", since, 0, 0, SIZE, address, ROOM, 0, 0, 0, 0, 0))
    ranges = []
    while True:
        fcntl.ioctl(device, CHANGES, look)
        _, generation, _, left, _, _, count, *_ = struct.unpack("5Q6I", look)
        ranges += struct.iter_unpack("2Q", found.raw[: 16 * count])
        if left == 0:
            return ranges, generation


def store(device, places, done):
    """What it stores into knows nothing of drivers: it is memory."""
    memory = mmap.mmap(device, SIZE)
    for place in places:
        memory[place] = 1
        done.recv()


def watch(device, times, done):
    # Look first, then wait: only a page that was looked at is noticed again.
    ranges, generation = changes(device, 0)
    for _ in range(times):
        while not ranges:
            select.select([device], [], [])
            ranges, generation = changes(device, generation)
        for offset, size in ranges:
            print(f"changed: {size} bytes at {offset}")
        ranges = []
        done.send()


class Turns:
    """Lets the one wait until the other has seen what it did."""

    def __init__(self):
        self.read, self.write = os.pipe()

    def send(self):
        os.write(self.write, b".")

    def recv(self):
        os.read(self.read, 1)


device = os.open(sys.argv[1], os.O_RDWR)
places, done = [5000, 40000, 5001], Turns()
child = os.fork()
if child == 0:
    store(device, places, done)
    os._exit(0)
watch(device, len(places), done)
os.waitpid(child, 0)
