# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes mistakes, one after the other, and says in the kernel's log which is next. What is lost without a word is looked for
# by the tests that look for it after the others, which have to fail.
# detectors.sh TESTS NUMBER...
tests=$1
shift
for number in "$@"; do
    echo "chrmem: mistake $number" > /dev/kmsg
    # Some mistakes end the system here, and others leave a module that can't be unloaded.
    insmod detectors.ko bug=$number
    rmmod detectors
done
echo "chrmem: mistakes made" > /dev/kmsg
if [ -n "$tests" ]; then
    CHRMEM_BOOT=debug chrmem-vm-tests --test-threads=1 "$tests"
fi
# The kernel's last words are on their way to the console.
sleep 1
