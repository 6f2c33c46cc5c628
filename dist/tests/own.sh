# SPDX-License-Identifier: MIT OR Apache-2.0
#
# In the VM: what `cargo xtask install` and `uninstall` do as root, and what a kernel says that takes signed modules only.
set -eux
. /share/clean.sh
PARTS='/etc /home /usr/bin /usr/include/linux /usr/lib/modules /usr/lib/modprobe.d /usr/lib/modules-load.d /usr/lib/sysusers.d /usr/lib/udev
    /usr/local /usr/share/doc /usr/share/man /var/lib/dkms'
mkdir -p /var/lib/dkms
release=$(uname -r)
cp -r /share/stage /tmp/stage
everything > /tmp/before
/usr/lib/systemd/systemd-udevd --daemon

sh /share/install.sh /tmp/stage "$release" load
udevadm settle
[ "$(stat -c '%G %a' /dev/chrmem0)" = 'chrmem 660' ]
[ "$(modinfo -n chrmem)" = "/lib/modules/$release/updates/chrmem.ko" ]
[ "$(command -v chrmem)" = /usr/local/bin/chrmem ]
chrmem doctor
# Twice is once.
sh /share/install.sh /tmp/stage "$release" load
# In use: refused, and nothing is removed.
sleep 60 < /dev/chrmem0 &
never sh /share/uninstall.sh
kill $!
wait $! || true
chrmem demo chrmem0
sh /share/uninstall.sh
never test -e /sys/module/chrmem
never sh /share/uninstall.sh
udevadm control --exit
same_as /tmp/before

# A kernel that wants signatures: locked down, as Secure Boot has Debian's, then with all that is not signed refused.
unsigned=/tmp/stage/usr/lib/modules/$release/updates/chrmem.ko
mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
echo integrity > /sys/kernel/security/lockdown
for module in "$unsigned" /share/dkms.ko; do
    never insmod "$module" 2> /tmp/said
    grep 'Operation not permitted' /tmp/said
done
dmesg | grep 'Lockdown: insmod: unsigned module loading is restricted'
chrmem_of_stage=/tmp/stage/usr/local/bin/chrmem
never "$chrmem_of_stage" doctor > /tmp/doctor
grep 'lockdown is integrity' /tmp/doctor
echo 1 > /sys/module/module/parameters/sig_enforce
for module in "$unsigned" /share/dkms.ko; do
    never insmod "$module" 2> /tmp/said
    grep 'Key was rejected by service' /tmp/said
done
dmesg | grep 'Loading of unsigned module is rejected'
dmesg | grep 'Loading of module with unavailable key is rejected'
