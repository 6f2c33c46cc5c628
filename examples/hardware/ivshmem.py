#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""QEMU's `ivshmem-plain`: a PCI BAR that is a file of the host, behind a `physical` window.

What the host writes into the file is in the mapping, and the other way round. The lab shows the host's file to the
guest as /hw/ivshmem, so that this program can play the host, too. Run as root in the lab: cargo xtask vm -- python3 ivshmem.py
"""

import mmap
import os
import pathlib
import subprocess

pci = next(
    path
    for path in pathlib.Path("/sys/bus/pci/devices").iterdir()
    if (path / "vendor").read_text() + (path / "device").read_text() == "0x1af4\n0x1110\n"
)
start, end = (int(number, 16) for number in (pci / "resource").read_text().splitlines()[2].split()[:2])
(pci / "enable").write_text("1")

subprocess.run(["chrmem", "create", "shared", f"bar2:{end - start + 1},address={start:#x}"], check=True)
device = os.open("/dev/chrmem-shared", os.O_RDWR)
memory = mmap.mmap(device, end - start + 1)
host = os.open("/hw/ivshmem", os.O_RDWR)

os.pwrite(host, b"written by the host", 0)
print(memory[0:19].decode())
memory[4096:4115] = b"stored by the guest"
print(os.pread(host, 19, 4096).decode())

memory.close()
os.close(device)
subprocess.run(["chrmem", "destroy", "shared"], check=True)
