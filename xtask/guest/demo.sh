# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The lesson, as one would type it in the guest's own shell: each line is shown, then run.
set -e
show() {
    echo "# $1"
    eval "$1"
}
show 'uname -r'
show 'insmod chrmem.ko'
show 'grep chrmem_dev /proc/devices'
major=$(awk '$2 == "chrmem_dev" { print $1 }' /proc/devices)
show "mknod /dev/sln_memdev c $major 0"
show 'chrmem demo /dev/sln_memdev'
show 'rmmod chrmem'
