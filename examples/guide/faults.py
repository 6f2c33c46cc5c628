# SPDX-License-Identifier: MIT OR Apache-2.0
"""Touches every page of a window once: how many page faults does that take?"""

import json
import mmap
import os
import resource
import subprocess
import sys


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def touch(mapping):
    for start in range(0, len(mapping), 4096):
        mapping[start]


info = json.loads(subprocess.check_output(["chrmem", "info", "--json", sys.argv[1]]))
device = os.open(info["node"], os.O_RDWR)
# Python's own faults come before.
touch(mmap.mmap(-1, 1 << 20))
for window in info["windows"]:
    mapping = mmap.mmap(device, window["size"], offset=window["offset"])
    before = faults()
    touch(mapping)
    print(f"{window['name']}: {len(mapping) // 4096} pages, {faults() - before} faults")
