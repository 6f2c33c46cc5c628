# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Removes what install.sh took note of. Run by root, for `cargo xtask uninstall`.
set -eu
list=/usr/local/lib/chrmem/installed
[ -e "$list" ] || { echo "error: nothing is installed: there is no $list" >&2; exit 1; }
if [ -e /sys/module/chrmem ]; then
    modprobe -r chrmem || { echo "error: chrmem is in use (\`chrmem maps\` tells by whom); nothing was removed" >&2; exit 1; }
fi
copy=$(mktemp)
trap 'rm -f "$copy"' EXIT
sort -r "$list" > "$copy"
sed -n 's/^file //p' "$copy" | while read -r path; do rm -f "$path"; done
sed -n 's/^folder //p' "$copy" | while read -r path; do rmdir --ignore-fail-on-non-empty "$path"; done
sed -n 's/^kernel //p' "$copy" | while read -r release; do
    [ ! -e "/lib/modules/$release/modules.order" ] || depmod "$release"
done
if grep -qx 'group chrmem' "$copy" && getent group chrmem > /dev/null; then
    groupdel chrmem
fi
if [ -e /run/udev/control ]; then
    udevadm control --reload
fi
