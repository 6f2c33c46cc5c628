# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a file that becomes shorter does to a program that has mapped it."""

import mmap
import os
import signal
import tempfile

with tempfile.TemporaryFile() as file:
    file.write(bytes(2 * mmap.PAGESIZE))
    file.flush()
    child = os.fork()
    if child == 0:
        mapping = mmap.mmap(file.fileno(), 2 * mmap.PAGESIZE)
        os.ftruncate(file.fileno(), mmap.PAGESIZE)
        print("the first page:", mapping[0], flush=True)
        print("the second page:", mapping[mmap.PAGESIZE])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("it died of", signal.Signals(os.WTERMSIG(status)).name)
