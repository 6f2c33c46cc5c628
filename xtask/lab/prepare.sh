# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds what an out-of-tree Rust module needs of the kernel tree, and no package ships.
# prepare.sh RELEASE LOCALVERSION CC
set -eu
release=$1 localversion=$2 cc=$3
cd /usr/src/linux
make CC="$cc" LOCALVERSION="$localversion" -j"$(nproc)" prepare modules_prepare
# A module built for another name than the kernel's would not load.
made=$(cat include/config/kernel.release)
[ "$made" = "$release" ] || { echo "error: the tree calls itself $made, the kernel is $release"; exit 1; }
