# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Gives a kernel tree the distribution's own configuration, and builds in it what an out-of-tree Rust module needs and no
# package ships.
# prepare.sh RELEASE LOCALVERSION SOURCE BUILD CC
set -eu
release=$1 localversion=$2 source=$3 build=$4 cc=$5
headers=/usr/src/linux-headers-$release
rm -rf "$build"
mkdir "$build"
cp "$headers/.config" "$headers/Module.symvers" "$build"
make -C "$source" O="$build" CC="$cc" olddefconfig
# One missing tool, and olddefconfig silently drops an option: `struct module` then has another layout, and nothing loads.
if ! diff "$headers/.config" "$build/.config"; then
    echo "error: the configuration above differs from the one that $release was built with"
    exit 1
fi
grep -q '^CONFIG_RUST=y' "$build/.config" || { echo "error: $release is built without Rust"; exit 1; }
make -C "$build" CC="$cc" LOCALVERSION="$localversion" -j"$(nproc)" prepare modules_prepare
# A module built for another name than the kernel's would not load.
made=$(cat "$build/include/config/kernel.release")
[ "$made" = "$release" ] || { echo "error: the tree calls itself $made, the kernel is $release"; exit 1; }
