# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Unpacks the packages of a kernel of another architecture, none of whose programs can run here, and installs its source.
# foreign-packages.sh ARCH RELEASE VERSION SOURCE-PACKAGE PACKAGE...
set -eu
arch=$1 release=$2 version=$3 source=$4
shift 4
apt-get install -y --no-install-recommends "$source"
cd /tmp
for package in "$@" "linux-base-$release"; do
    apt-get download "$package:$arch=$version"
done
for package in linux-*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -C / -x --keep-directory-symlink
done
depmod "$release"
