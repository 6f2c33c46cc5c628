# SPDX-License-Identifier: MIT OR Apache-2.0
#
# dkms.sh RELEASE FILE OUTPUT TREE: DKMS skips Debian's kernel as it comes, and builds the module where Rust's metadata is, that is
# against the prepared TREE. The module goes to OUTPUT.
set -eu
. /run/chrmem/tests/clean.sh
release=$1 file=$2 output=$3 tree=$4
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update > /tmp/log 2>&1
apt-get -qq install -y --no-install-recommends dkms > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
# The kernel with sanitizers, where the lab has one, needs a compiler that DKMS does not know how to call.
rm -rf /lib/modules/*-debug
everything > /tmp/before
# To install must work, whatever kernels there are.
apt-get install -y --no-install-recommends "$file" > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
dkms status chrmem
never test -e "/lib/modules/$release/updates/dkms"
version=$(basename /usr/src/chrmem-* | sed 's/^chrmem-//')
# As it comes: skipped, which is 77 and no error.
status=0
dkms build chrmem/$version -k "$release" > /tmp/log 2>&1 || status=$?
[ $status = 77 ] || { cat /tmp/log; echo "error: dkms ended with $status, not 77"; exit 1; }
# With metadata, but of a series that nobody tried: skipped as well.
mkdir -p /tmp/other/rust /tmp/other/include/config
echo CONFIG_RUST=y > /tmp/other/include/config/auto.conf
touch /tmp/other/rust/libkernel.rmeta
status=0
dkms build chrmem/$version -k 7.99.1-amd64 --kernelsourcedir /tmp/other > /tmp/log 2>&1 || status=$?
[ $status = 77 ] || { cat /tmp/log; echo "error: dkms ended with $status, not 77"; exit 1; }
# With a prepared tree: built, installed, found.
dkms install chrmem/$version -k "$release" --kernelsourcedir "$tree" > /tmp/log 2>&1 || { cat /tmp/log /var/lib/dkms/chrmem/*/build/make.log; exit 1; }
dkms status chrmem | grep "$release.*installed"
built=$(modinfo -k "$release" -n chrmem)
modinfo -k "$release" -F signer chrmem
case $built in
*.xz) xz -dc "$built" ;;
*) cat "$built" ;;
esac > "$output"
apt-get -qq purge -y chrmem-dkms > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
# DKMS's key for signing is DKMS's.
rm -f /var/lib/dkms/mok.*
same_as /tmp/before
