# SPDX-License-Identifier: MIT OR Apache-2.0
"""A window of a chrmem device as a structured array, and waiting for another process to fill it.

    python3 samples.py /dev/chrmem0

Needs numpy, and nothing else but Python's own library. What is in the device is gone afterwards.
"""

import fcntl
import mmap
import os
import select
import struct
import sys

import numpy

# The numbers of linux/chrmem.h, by the kernel's formula: direction, size, magic, number.
MAGIC = 0xD0
NONE, IN, OUT = 0, 1, 2


def ioctl_number(direction, number, size=0):
    return direction << 30 | size << 16 | MAGIC << 8 | number


# struct chrmem_info: version, windows, size, generation, reserved.
INFO = struct.Struct("=IIQQ40x")
# struct chrmem_window: index, flags, offset, size, address, memory, cache, access, reserved, name.
WINDOW = struct.Struct("=IIQQQIII20x64s")
# struct chrmem_range: offset, size, flags, reserved.
RANGE = struct.Struct("=QQII")

IOC_INFO = ioctl_number(OUT, 0, INFO.size)
IOC_WINDOW = ioctl_number(IN | OUT, 1, WINDOW.size)
IOC_CLEAR = ioctl_number(IN, 2, RANGE.size)
IOC_NOTIFY = ioctl_number(NONE, 4)
IOC_SEEN = ioctl_number(OUT, 5, 8)

# What the window is made of: one record for each measurement.
SAMPLE = numpy.dtype([("channel", "<u2"), ("flags", "<u2"), ("level", "<f4"), ("time", "<f8")])


def windows(fd):
    """Name, offset and size of each window."""
    _version, count, _size, _generation = INFO.unpack(fcntl.ioctl(fd, IOC_INFO, bytes(INFO.size)))
    for index in range(count):
        # Everything but the index must be zero.
        asked = WINDOW.pack(index, 0, 0, 0, 0, 0, 0, 0, b"")
        fields = WINDOW.unpack(fcntl.ioctl(fd, IOC_WINDOW, asked))
        yield fields[-1].split(b"\0")[0].decode(), fields[2], fields[3]


def generation(fd):
    """The device's generation, seen by this open file from now on."""
    return struct.unpack("=Q", fcntl.ioctl(fd, IOC_SEEN, bytes(8)))[0]


def samples(fd, offset, size):
    """A window as an array of samples: its elements are the device's memory."""
    # The length has to be said: a device is not a file whose size Python would find.
    memory = mmap.mmap(fd, size, offset=offset)
    return numpy.frombuffer(memory, dtype=SAMPLE, count=size // SAMPLE.itemsize)


def fill(path, offset, size):
    """What the other process does."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    array = samples(fd, offset, size)
    array["channel"] = numpy.arange(len(array)) % 4
    array["level"] = numpy.sqrt(numpy.arange(len(array)))
    array["time"] = numpy.linspace(0, 1, len(array))
    # Stores through a mapping are silent, until somebody says so.
    fcntl.ioctl(fd, IOC_NOTIFY)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/dev/chrmem0"
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    name, offset, size = next(windows(fd))
    fcntl.ioctl(fd, IOC_CLEAR, RANGE.pack(offset, size, 0, 0))
    array = samples(fd, offset, size)
    print(f"window {name}: {len(array)} samples, {numpy.count_nonzero(array['time'])} with a time")

    before = generation(fd)
    child = os.fork()
    if child == 0:
        fill(path, offset, size)
        os._exit(0)
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    if not poller.poll(10_000):
        raise SystemExit("nothing changed in ten seconds")
    print(f"{generation(fd) - before} change, {numpy.count_nonzero(array['time'])} with a time")
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("the other process failed")

    loud = array[array["level"] > 10]
    print(f"{len(loud)} samples above 10, the first on channel {loud['channel'][0]}")
    array["flags"][array["level"] > 10] |= 1
    # What was stored in the array is in the device.
    start = offset + int(numpy.argmax(array["level"] > 10)) * SAMPLE.itemsize
    print("in the device:", os.pread(fd, 4, start).hex())


if __name__ == "__main__":
    main()
