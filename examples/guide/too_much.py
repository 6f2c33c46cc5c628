# SPDX-License-Identifier: MIT OR Apache-2.0
"""Maps what is not there: more than the window has, and offsets where there is no window."""

import mmap
import os
import sys

device = os.open(sys.argv[1], os.O_RDWR)
for offset, length in [(0, 4096), (0, 8192), (4096, 4096), (65536, 4096)]:
    try:
        with mmap.mmap(device, length, offset=offset) as mapping:
            print(f"{length} bytes from {offset}: {bytes(mapping[:8])}")
    except OSError as error:
        print(f"{length} bytes from {offset}: {error.strerror}")
