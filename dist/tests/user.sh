# SPDX-License-Identifier: MIT OR Apache-2.0
#
# In the VM, on a Debian with nothing of ours: what somebody does who was told of chrmem. Ends with a machine as before.
set -eux
. /share/clean.sh
PARTS='/etc /home /usr/bin /usr/include/linux /usr/lib/modules /usr/lib/modprobe.d /usr/lib/modules-load.d /usr/lib/sysusers.d /usr/lib/udev
    /usr/local /usr/share/doc /usr/share/man /var/lib/dkms'
mkdir -p /var/lib/dkms
cd /tmp
# depmod reads every module there is, which takes emulation minutes: it gets those that chrmem needs.
for part in "/usr/lib/modules/$(uname -r)"/kernel/*; do
    [ "${part##*/}" = fs ] || mount -t tmpfs tmpfs "$part"
done
/usr/lib/systemd/systemd-udevd --daemon
useradd --create-home user
everything > /tmp/before
export DEBIAN_FRONTEND=noninteractive

# apt does this as well, and the clean tree's trial has it do so: here its time is emulated.
dpkg --install /share/chrmem_*.deb "/share/chrmem-modules-$(uname -r)"_*.deb
modprobe chrmem
udevadm settle
[ "$(stat -c '%G %a' /dev/chrmem0)" = 'chrmem 660' ]
chrmem doctor

# Nobody else may use it; who is in the group may.
never runuser -u user -- chrmem info
usermod -aG chrmem user
runuser -u user -- chrmem demo > demo
grep -qx 'After write, shm = User write to share memory!' demo
chrmem create camera header:4K frames:16M
udevadm settle
runuser -u user -- chrmem list
[ "$(stat -c '%G %a' /dev/chrmem-camera)" = 'chrmem 660' ]

# From C, Python and Rust, as somebody of the group.
examples=/usr/share/doc/chrmem/examples
runuser -u user -- cc -Wall -o /tmp/tour $examples/c/tour.c
runuser -u user -- /tmp/tour /dev/chrmem0
runuser -u user -- python3 $examples/python/samples.py /dev/chrmem0
runuser -u user -- /share/rust-user /dev/chrmem-camera

sh /share/containers.sh

chrmem destroy camera
dpkg --purge chrmem "chrmem-modules-$(uname -r)"
never test -e /sys/module/chrmem
never test -e /dev/chrmem0
gpasswd -d user chrmem 2> /dev/null || true
same_as /tmp/before

# What DKMS built works as well.
insmod /share/dkms.ko
grep chrmem_dev /proc/devices
rmmod chrmem
udevadm control --exit
