# SPDX-License-Identifier: MIT OR Apache-2.0
#
# In a tree like the VM's: compiles what the library for Rust rests on, as the reader of the pages is about to, for whom
# emulation would take its quarter of an hour. What came out goes to /share/target.tar.
set -eu
. /share/home.sh
runuser --login user --command 'set -e
    cargo new --quiet /tmp/first && cd /tmp/first
    cargo add --quiet --path ~/chrmem/lib
    cargo build'
tar --format=posix -C /home/user --exclude=incremental --exclude='*first*' -cf /share/target.tar target
