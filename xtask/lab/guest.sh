# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Finishes a Debian tree of another architecture whose packages were unpacked, and whose own scripts cannot run here.
# guest.sh TREE
set -eu
cd "$1"
# What base-passwd, base-files and the installer would write.
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
sed 's/:.*/:*:19000:0:99999:7:::/' etc/passwd > etc/shadow
sed 's/:.*/:*::/' etc/group > etc/gshadow
chmod 640 etc/shadow etc/gshadow
cp usr/share/base-files/profile etc/profile
printf '127.0.0.1\tlocalhost chrmem\n::1\tlocalhost\n' > etc/hosts
# What update-alternatives would choose.
alternative() {
    [ -e "usr/bin/$1" ] || { echo "error: there is no $1"; exit 1; }
    ln -sf "$1" "usr/bin/$2"
}
alternative mawk awk
alternative which.debianutils which
alternative gcc cc
for library in usr/lib/*/blas usr/lib/*/lapack; do
    for file in "$library"/lib*.so.3; do
        ln -sf "${library##*/}/${file##*/}" "${library%/*}/${file##*/}"
    done
done
# A kernel's modules and its source are mounted here.
mkdir -p usr/lib/modules usr/src
