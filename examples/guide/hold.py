# SPDX-License-Identifier: MIT OR Apache-2.0
"""Maps a device, closes it, and holds the mapping in the background for some seconds.

    python3 hold.py /dev/chrmem0 30
"""

import mmap
import os
import sys
import time

device = os.open(sys.argv[1], os.O_RDWR)
mapping = mmap.mmap(device, 4096)
os.close(device)
# The command is done when the mapping is there; a copy of it goes on.
if os.fork() == 0:
    mapping[:5] = b"held\0"
    for _ in range(int(sys.argv[2]) * 10):
        time.sleep(0.1)
        # Does what is in the file after the first word reach the mapping, and the other way round?
        mapping[8:9] = b"+"
    os._exit(0)
