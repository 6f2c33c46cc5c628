# SPDX-License-Identifier: MIT OR Apache-2.0
#
# package.sh NAME FILE: installs a package on a clean machine, looks at it, purges it. Nothing may be left.
set -eu
. /run/chrmem/tests/clean.sh
name=$1 file=$2
export DEBIAN_FRONTEND=noninteractive
everything > /tmp/before
apt-get -qq install -y --no-install-recommends "$file" > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
case $name in
chrmem)
    # The libraries and the C library's age are right.
    chrmem --version
    ldd /usr/bin/chrmem > /tmp/libraries
    never grep 'not found' /tmp/libraries
    getent group chrmem
    # A manual page for each subcommand, and for the device.
    for command in $(chrmem --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\) .*/\1/p'); do
        [ "$command" = help ] || zcat "/usr/share/man/man1/chrmem-$command.1.gz" | grep -q '^\.TH'
    done
    zcat /usr/share/man/man4/chrmem.4.gz > /tmp/chrmem.4
    for ioctl in $(sed -n 's/^#define \(CHRMEM_\(IOC\|MEM\)_[A-Z]*\)[ \t].*\(_IO\|0x[01]\).*/\1/p' /usr/include/linux/chrmem.h); do
        grep -q "$ioctl" /tmp/chrmem.4 || { echo "error: chrmem(4) does not tell of $ioctl"; exit 1; }
    done
    bash -c '. /usr/share/bash-completion/completions/chrmem; COMP_WORDS=(chrmem cre) COMP_CWORD=1; _chrmem chrmem cre chrmem; [ "${COMPREPLY[*]}" = create ]'
    grep -q '^#compdef chrmem' /usr/share/zsh/vendor-completions/_chrmem
    grep -q '^complete -c chrmem' /usr/share/fish/vendor_completions.d/chrmem.fish
    echo '#include <linux/chrmem.h>
int main(void) { return !CHRMEM_IOC_INFO; }' | gcc -Wall -Wextra -pedantic -Werror -x c -o /tmp/header -
    /tmp/header
    udevadm verify /usr/lib/udev/rules.d/60-chrmem.rules
    modprobe -c > /tmp/options
    never grep '^options chrmem ' /tmp/options
    ;;
chrmem-modules-*)
    release=${name#chrmem-modules-}
    modprobe -S "$release" --show-depends chrmem
    [ "$(modinfo -k "$release" -F vermagic chrmem | cut -d' ' -f1)" = "$release" ]
    ;;
esac
apt-get -qq purge -y "$name" > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
same_as /tmp/before
