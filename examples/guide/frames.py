# SPDX-License-Identifier: MIT OR Apache-2.0
"""Frames from one side to the other without a copy: four slots of a window, and a header that says which is new.

    chrmem create camera header:4K frames:4M
    python3 frames.py
"""

import fcntl
import mmap
import os
import select
import struct

import numpy

NOTIFY, SEEN = 0xD004, 0x8008D005
SLOTS, SHAPE = 4, (512, 1024)
HEADER = struct.Struct("<QQ")  # Frames written so far; bytes of each.
FRAME = SHAPE[0] * SHAPE[1]


def view(device):
    """Header and frames, as they are in the device."""
    header = mmap.mmap(device, 4096)
    frames = numpy.frombuffer(mmap.mmap(device, 4 << 20, offset=4096), "u1", SLOTS * FRAME)
    return header, frames.reshape(SLOTS, *SHAPE)


def produce(count):
    device = os.open("/dev/chrmem-camera", os.O_RDWR)
    header, frames = view(device)
    for number in range(count):
        # What a sensor's DMA engine would do: the next slot, in place.
        frames[number % SLOTS] = number
        HEADER.pack_into(header, 0, number + 1, FRAME)
        # Stores are silent; this wakes who waits.
        fcntl.ioctl(device, NOTIFY)


def consume(count):
    device = os.open("/dev/chrmem-camera", os.O_RDWR)
    header, frames = view(device)
    fcntl.ioctl(device, SEEN, bytes(8))
    if os.fork() == 0:
        produce(count)
        os._exit(0)
    poller = select.poll()
    poller.register(device, select.POLLIN)
    written = 0
    while written < count:
        poller.poll()
        fcntl.ioctl(device, SEEN, bytes(8))
        written, size = HEADER.unpack_from(header)
    frame = frames[(written - 1) % SLOTS]
    print(f"{written} frames of {size} bytes; the last has {frame.min()} to {frame.max()}")


consume(10)
