# SPDX-License-Identifier: MIT OR Apache-2.0
#
# In the VM, on a Debian with nothing of ours: what somebody does who was told of chrmem. Ends with a machine as before.
set -eux
. /share/clean.sh
PARTS='/etc /home /usr/bin /usr/include/linux /usr/lib/modules /usr/lib/modprobe.d /usr/lib/modules-load.d /usr/lib/sysusers.d /usr/lib/udev
    /usr/local /usr/share/doc /usr/share/man /var/lib/dkms'
mkdir -p /var/lib/dkms
cd /tmp
few_modules
# apt reads all lists there are as well.
mount -t tmpfs tmpfs /var/lib/apt/lists
/usr/lib/systemd/systemd-udevd --daemon
. /share/home.sh
runuser -u user -- tar -C /home/user -xf /share/target.tar
echo 'user ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/user
echo "127.0.1.1 $(hostname)" >> /etc/hosts
everything > /tmp/before

# What README and docs/ show for a user's machine, up to the purge.
sh /share/reader.sh
never test -e /sys/module/chrmem
never test -e /dev/chrmem0
gpasswd -d user chrmem 2> /dev/null || true
same_as /tmp/before

# And what they do not.
export DEBIAN_FRONTEND=noninteractive
dpkg --install /share/chrmem_*.deb "/share/chrmem-modules-$(uname -r)"_*.deb
modprobe chrmem
udevadm settle
[ "$(stat -c '%G %a' /dev/chrmem0)" = 'chrmem 660' ]
chrmem doctor
# Nobody else may use it; who is in the group may.
never runuser -u user -- chrmem info
usermod -aG chrmem user
runuser -u user -- chrmem demo chrmem0 > demo
grep -qx 'After write, shm = User write to share memory!' demo
chrmem create camera header:4K frames:16M
udevadm settle
runuser -u user -- chrmem list
[ "$(stat -c '%G %a' /dev/chrmem-camera)" = 'chrmem 660' ]

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
