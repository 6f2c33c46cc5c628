# SPDX-License-Identifier: MIT OR Apache-2.0
#
# For other scripts: what a machine consists of, to be compared. Left out are the records of the packages' own tools. $PARTS
# has the folders to look at, where not all: emulation takes its time.
everything() {
    find ${PARTS:-/} -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /lab -o -path /share -o -path /hw \
        -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/log -o -path /var/cache \) -prune \
        -o ! -type d -printf '%p %l\n' -o -type d -printf '%p/\n' | grep -v '^/etc/\.pwd\.lock\|^/etc/g\?[a-z]*-\? $\|/__pycache__/' | sort
    sort /etc/group /etc/passwd
}

# No file and no folder more or less than in FILE, which `everything` made.
same_as() {
    everything > /tmp/after
    diff "$1" /tmp/after || { echo "error: this is what the packages left, or took"; exit 1; }
}

# Fails if a command succeeds: `set -e` takes no notice of `! command`.
never() {
    if "$@"; then
        echo "error: this was not to succeed: $*"
        exit 1
    fi
}

# depmod reads every module there is, which takes emulation minutes: it gets those that chrmem needs.
few_modules() {
    for part in "/usr/lib/modules/$(uname -r)"/kernel/*; do
        [ "${part##*/}" = fs ] || mount -t tmpfs tmpfs "$part"
    done
}
