# SPDX-License-Identifier: MIT OR Apache-2.0
#
# In the VM, with chrmem installed and a device `camera`: containers get the devices that they ask for, and no others.
set -eux
. /share/clean.sh
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /etc/cdi
mkdir -p /tmp/image/dev /tmp/image/proc /tmp/image/sys /tmp/image/run /tmp/image/tmp /tmp/image/etc
cc -static -o /tmp/image/tour /usr/share/doc/chrmem/examples/c/tour.c
chrmem cdi > /etc/cdi/chrmem.json
run() {
    podman --storage-driver vfs --cgroup-manager cgroupfs --events-backend none --runtime crun \
        run --rm --network none --log-driver none "$@"
}
run --device chrmem/device=chrmem0 --rootfs /tmp/image /tour /dev/chrmem0
run --device chrmem/device=all --rootfs /tmp/image /tour /dev/chrmem-camera
# Whoever does not ask has none.
never run --rootfs /tmp/image /tour /dev/chrmem0
never run --device chrmem/device=chrmem0 --rootfs /tmp/image /tour /dev/chrmem-camera
# To read is not to write.
chrmem cdi --read-only chrmem0 > /etc/cdi/chrmem.json
never run --device chrmem/device=chrmem0 --rootfs /tmp/image /tour /dev/chrmem0
rm -rf /etc/cdi /tmp/image
