# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds the sanitizer kernel and installs its modules. The configuration comes on standard input.
# debug.sh RELEASE SOURCE BUILD LLVM
set -eu
release=$1 source=$2 build=$3 llvm=$4
rm -rf "$build" "/usr/lib/modules/$release"
mkdir "$build"
cat > "$build/asked"
make -C "$source" "$llvm" O="$build" KCONFIG_ALLCONFIG="$build/asked" allnoconfig
# What depends on something that is not there is dropped without a word.
if grep '^[^#]\|^# CONFIG_' "$build/asked" | grep -vxFf "$build/.config"; then
    echo "error: the kernel's configuration did not take the options above"
    exit 1
fi
make -C "$build" "$llvm" LOCALVERSION="-${release##*-}" -j"$(nproc)" vmlinux modules
made=$(cat "$build/include/config/kernel.release")
[ "$made" = "$release" ] || { echo "error: the tree calls itself $made, and should be $release"; exit 1; }
make -C "$build" "$llvm" LOCALVERSION="-${release##*-}" modules_install
# What only the next build of the kernel itself would need is five sixths of the whole.
find "$build" -path "$build/scripts" -prune -o -path "$build/tools" -prune -o \
    \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '.tmp_vmlinux*' -o -name 'vmlinux.unstripped' \) -type f -print0 | xargs -0 rm -f
