#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""QEMU's `edu` PCI device does DMA from and to a window, driven from user space through chrmem alone.

One device with two windows: the registers of the hardware (its BAR 0, `physical`), and memory that it can reach
(`dma`). Run as root in the lab: cargo xtask vm -- python3 edu.py
"""

import json
import mmap
import os
import pathlib
import subprocess
import time

import numpy

# Registers, as QEMU's docs/specs/edu.rst has them, and where the device's own 4096 bytes are for its DMA engine.
IDENTIFICATION = 0x00
DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND = 0x80, 0x88, 0x90, 0x98
START, TO_MEMORY = 1, 2
INSIDE = 0x40000

pci = next(
    path
    for path in pathlib.Path("/sys/bus/pci/devices").iterdir()
    if (path / "vendor").read_text() + (path / "device").read_text() == "0x1234\n0x11e8\n"
)
bar0 = int((pci / "resource").read_text().split()[0], 16)

# The device must be on, and allowed to reach memory by itself (bus master, bit 2 of the command register).
(pci / "enable").write_text("1")
with open(pci / "config", "r+b", buffering=0) as config:
    command = int.from_bytes(os.pread(config.fileno(), 2, 4), "little")
    os.pwrite(config.fileno(), (command | 4).to_bytes(2, "little"), 4)

subprocess.run(
    [
        "chrmem", "create", "edu",
        f"registers:4K,address={bar0:#x},cache=noncached",
        f"memory:16K,device={pci.name}",
    ],
    check=True,
)
windows = json.loads(subprocess.check_output(["chrmem", "info", "--json", "edu"]))["windows"]
registers, memory = (
    {"offset": window["offset"], "size": window["size"], "address": window["address"]} for window in windows
)

device = os.open("/dev/chrmem-edu", os.O_RDWR)
words = numpy.frombuffer(mmap.mmap(device, registers["size"], offset=registers["offset"]), "<u4")
memory_bytes = mmap.mmap(device, memory["size"], offset=memory["offset"])
print(f"edu {words[IDENTIFICATION // 4]:#010x}")


def transfer(source, destination, count, command):
    """Lets the device copy, and waits until it has."""
    for register, value in [(DMA_SOURCE, source), (DMA_DESTINATION, destination), (DMA_COUNT, count)]:
        words[register // 4] = value & 0xFFFFFFFF
        words[register // 4 + 1] = value >> 32
    words[DMA_COMMAND // 4] = command
    while words[DMA_COMMAND // 4] & START:
        time.sleep(0.01)


text = b"stored by a program, moved by the device"
memory_bytes[0 : len(text)] = text
transfer(memory["address"], INSIDE, len(text), START)
transfer(INSIDE, memory["address"] + 8192, len(text), START | TO_MEMORY)
print(memory_bytes[8192 : 8192 + len(text)].decode())

del words
os.close(device)
subprocess.run(["chrmem", "destroy", "edu"], check=True)
