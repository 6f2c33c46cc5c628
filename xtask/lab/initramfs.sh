# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes the initramfs that mounts the root: busybox, the modules for it, and the script of standard input as /init.
# The archive goes to standard output.
# initramfs.sh RELEASE BUSYBOX MODULE...
set -eu
modules=/usr/lib/modules/$1 busybox=$2
shift 2
tree=$(mktemp -d)
cd "$tree"
mkdir bin lib lab lower new root
cp "$busybox" bin/busybox
cat > init
touch lib/order
chmod +x init
# modules.dep has a line "module: what it needs, nearest first"; load order is the reverse.
for name in "$@"; do
    line=$(grep "/$name\.ko[^:]*:" "$modules/modules.dep" | head -n 1)
    # What is built into the kernel is there.
    [ -n "$line" ] || ! grep -q "/$name\.ko$" "$modules/modules.builtin" || continue
    [ -n "$line" ] || { echo "error: the kernel has no module $name" >&2; exit 1; }
    for file in $(echo "$line" | tr -d : | awk '{ for (i = NF; i > 0; i--) print $i }'); do
        plain=$(basename "$file" | sed 's/\.ko.*/.ko/')
        [ ! -e "lib/$plain" ] || continue
        case $file in
            *.xz) xz -dc "$modules/$file" ;;
            *.zst) zstd -dcq "$modules/$file" ;;
            *) cat "$modules/$file" ;;
        esac > "lib/$plain"
        echo "$plain" >> lib/order
    done
done
find . | cpio -o -H newc --quiet
