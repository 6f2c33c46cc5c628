# SPDX-License-Identifier: MIT OR Apache-2.0
#
# In the VM of another architecture: installs the packages, uses the driver, purges them. Nothing may be left.
set -eux
. /share/clean.sh
PARTS='/etc /usr/bin /usr/include/linux /usr/lib/modules /usr/lib/modprobe.d /usr/lib/modules-load.d /usr/lib/sysusers.d /usr/lib/udev
    /usr/share/doc /usr/share/man'
release=$(uname -r)
export DEBIAN_FRONTEND=noninteractive
cd /tmp
few_modules
# dpkg removes a folder that nobody else has files in.
touch /usr/share/doc/others /usr/share/man/others
everything > /tmp/before
# Of the packages that these depend on, dpkg knows nothing: they were unpacked without it.
dpkg --force-depends --install /share/chrmem_*.deb "/share/chrmem-modules-${release}"_*.deb
[ "$(dpkg --print-architecture)" = "$(dpkg-query --show --showformat='${Architecture}' chrmem)" ]
chrmem --version
modprobe chrmem
chrmem doctor
chrmem demo chrmem0 > demo
grep -qx 'After write, shm = User write to share memory!' demo
chrmem create camera header:64K frames:16M
chrmem list
chrmem destroy camera
rmmod chrmem
dpkg --force-depends --purge chrmem "chrmem-modules-${release}"
same_as /tmp/before
