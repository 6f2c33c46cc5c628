# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes, from a Debian kernel's source, the tree that Rust modules for it are built against.
# own-kernel.sh RELEASE SERIES LOCALVERSION TREE
set -eu
release=$1 series=$2 localversion=$3 tree=$4
headers=/usr/src/linux-headers-$release
cc=$(sed -n 's/^CC = .*\$(CROSS_COMPILE)\(gcc[-0-9]*\).*/\1/p' "$headers/.kernelvariables")
cc=$(sed -n 's/^override CROSS_COMPILE = \(.*\)/\1/p' "$headers/.kernelvariables")${cc:-gcc}
wanted=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"/\1/p' "$headers/.config")
found=$(rustc --version)
[ -n "$wanted" ] || { echo "error: $release is built without Rust"; exit 1; }
[ "$found" = "$wanted" ] || { echo "error: $release is built with $wanted, and $(command -v rustc) is $found"; exit 1; }
rm -rf "$tree"
mkdir -p "$tree"
tar -C "$tree" --strip-components=1 -xf "/usr/src/linux-source-$series.tar.xz"
cd "$tree"
cp "$headers/.config" "$headers/Module.symvers" .
make CC="$cc" olddefconfig
# One missing tool, and olddefconfig silently drops an option: `struct module` then has another layout, and nothing loads.
if ! diff "$headers/.config" .config; then
    echo "error: the configuration above differs from the one that $release was built with"
    exit 1
fi
make CC="$cc" LOCALVERSION="$localversion" -j"$(nproc)" prepare modules_prepare
made=$(cat include/config/kernel.release)
[ "$made" = "$release" ] || { echo "error: the tree calls itself $made, the kernel is $release"; exit 1; }
# The compiler, for those who build against it.
echo "CC = $cc" > .kernelvariables
