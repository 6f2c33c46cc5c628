# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Runs in mount and pid namespaces of its own, so that nothing stays mounted whatever happens.
# enter.sh ROOT ro|rw|scratch [ro|rw SOURCE TARGET]... -- COMMAND...
set -eu
root=$1 mode=$2
shift 2
mount --bind "$root" "$root"
if [ "$mode" = ro ]; then
    mount -o remount,bind,ro "$root"
fi
mount -t tmpfs tmpfs "$root/tmp"
# What is changed goes with the namespace.
if [ "$mode" = scratch ]; then
    mkdir "$root/tmp/upper" "$root/tmp/work"
    mount -t overlay -o "lowerdir=$root,upperdir=$root/tmp/upper,workdir=$root/tmp/work" overlay "$root"
    mount -t tmpfs tmpfs "$root/tmp"
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
# The host's name servers, for apt.
if [ "$mode" != ro ] && [ -e /etc/resolv.conf ]; then
    touch "$root/etc/resolv.conf"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
fi
while [ "$1" != -- ]; do
    if [ -d "$2" ]; then
        mkdir -p "$root$3"
    else
        mkdir -p "$(dirname "$root$3")"
        touch "$root$3"
    fi
    mount --bind "$2" "$root$3"
    if [ "$1" = ro ]; then
        mount -o remount,bind,ro "$root$3"
    fi
    shift 3
done
shift
# cargo and the user's shell leave variables behind (RUSTFLAGS, LD_LIBRARY_PATH, MAKEFLAGS …) that a build must not see.
exec chroot "$root" /usr/bin/env -i \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    TERM="${TERM:-dumb}" DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    "$@"
