# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Asks the mirrors what the suite and its backports offer.
# available.sh SUITE
set -eu
suite=$1
dpkg --configure -a
sources=/etc/apt/sources.list.d/backports.list
rm -f $sources
# apt names its sources once it has read them.
apt-get update
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk -v suite="$suite" '$2 == suite { print $1; exit }')
echo "deb $mirror $suite-backports main" > $sources
apt-get update
