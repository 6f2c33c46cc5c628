# SPDX-License-Identifier: MIT OR Apache-2.0
#
# typist.sh BLOCK, in a shell of a user who has just logged in: what one command does to the shell, the next one finds.
cd ~/chrmem || exit
for step in "$1"/*; do
    . "$step" > "/tmp/printed/${step##*/}" 2>&1 < /dev/null || exit
    # People are slower than udev.
    udevadm settle
done
