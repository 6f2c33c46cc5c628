# SPDX-License-Identifier: MIT OR Apache-2.0
#
# own-build.sh XTASK CHECKOUT RELEASE COMMAND OUTPUT: `cargo xtask kernel prepare` and `install`, but for what root does, as typed on
# a Debian with that kernel's packages. What is to be installed goes to OUTPUT/stage.
set -eu
xtask=$1 release=$3 command=$4 output=$5
# As cargo says where the checkout is.
export CARGO_MANIFEST_DIR="$2/xtask" CHRMEM_CACHE="$output/cache" HOME=/tmp
# A kernel that is not there, or not for us, is refused with a reason.
for other in 7.2.0-none 6.12.1-amd64; do
    if $xtask kernel prepare --release $other 2> /tmp/said; then
        echo "error: $other was prepared"
        exit 1
    fi
    cat /tmp/said
done
grep -q 'the driver is for the series' /tmp/said
if $xtask install --release "$release" --command "$command" --stage "$output/stage" 2> /tmp/said; then
    echo "error: installed without a tree"
    exit 1
fi
grep -q 'cargo xtask kernel prepare' /tmp/said
$xtask kernel prepare --release "$release"
$xtask kernel prepare --release "$release" 2> /tmp/said
grep -q 'nothing to prepare' /tmp/said
$xtask install --release "$release" --command "$command" --stage "$output/stage"
# And what the build says of another series.
make -C "$2/driver" KDIR="$output/cache/kernels/$release/tree" KERNELS=6.99 > /tmp/said 2>&1 && exit 1
grep 'the driver is for the series 6.99' /tmp/said
rm -rf "$output/cache"
