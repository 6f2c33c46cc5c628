# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Puts what was laid out into its place, takes note of it, and loads the module. Run by root, for `cargo xtask install`.
# install.sh STAGE RELEASE LOAD [SIGN-FILE KEY CERTIFICATE]
set -eu
stage=$1 release=$2 load=$3
list=/usr/local/lib/chrmem/installed
if [ $# = 6 ]; then
    "$4" sha256 "$5" "$6" "$stage/usr/lib/modules/$release/updates/chrmem.ko"
fi
new=$(mktemp)
trap 'rm -f "$new"' EXIT
if [ -e "$list" ]; then
    cp "$list" "$new"
elif ! getent group chrmem > /dev/null; then
    echo 'group chrmem' > "$new"
fi
mkdir -p "$stage/usr/local/lib/chrmem"
touch "$stage$list"
# Folders that were there already are not ours to remove.
(cd "$stage" && find . -mindepth 1 -type d | sort) | sed 's/^\.//' | while read -r path; do
    if [ ! -d "$path" ]; then
        mkdir -m 755 "$path"
        echo "folder $path" >> "$new"
    fi
done
(cd "$stage" && find . -type f | sort) | sed 's/^\.//' | while read -r path; do
    mode=644
    [ ! -x "$stage$path" ] || mode=755
    install -m "$mode" "$stage$path" "$path"
    echo "file $path" >> "$new"
done
echo "kernel $release" >> "$new"
sort -u "$new" > "$list"
depmod "$release"
if command -v systemd-sysusers > /dev/null; then
    systemd-sysusers /usr/local/lib/sysusers.d/chrmem.conf
elif ! getent group chrmem > /dev/null; then
    groupadd --system chrmem
fi
# Where udev does not run, nodes stay root's alone.
if [ -e /run/udev/control ]; then
    udevadm control --reload
fi
if [ -n "$load" ] && [ "$release" = "$(uname -r)" ]; then
    modprobe chrmem
fi
