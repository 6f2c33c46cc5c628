# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Unpacks the kernel's source and gives it the distribution's own configuration.
# source.sh RELEASE SERIES CC
set -eu
release=$1 series=$2 cc=$3
headers=/usr/src/linux-headers-$release
rm -rf /usr/src/linux
mkdir /usr/src/linux
tar -C /usr/src/linux --strip-components=1 -xf "/usr/src/linux-source-$series.tar.xz"
cd /usr/src/linux
cp "$headers/.config" "$headers/Module.symvers" .
make CC="$cc" olddefconfig
# One missing tool, and olddefconfig silently drops an option: `struct module` then has another layout, and nothing loads.
if ! diff "$headers/.config" .config; then
    echo "error: the configuration above differs from the one that $release was built with"
    exit 1
fi
grep -q '^CONFIG_RUST=y' .config || { echo "error: $release is built without Rust"; exit 1; }
