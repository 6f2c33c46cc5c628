# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Unpacks a kernel's source. It stays as it is: what is built of it goes to directories beside it.
# source.sh SERIES SOURCE
set -eu
series=$1 source=$2
rm -rf "$source"
mkdir "$source"
tar -C "$source" --strip-components=1 -xf "/usr/src/linux-source-$series.tar.xz"
