# SPDX-License-Identifier: MIT OR Apache-2.0
#
# In the VM: types what the pages show for a user's machine, as `user`, who logs in for each block, in a checkout. What each command
# prints is kept: it is compared afterwards.
set -eu
printed=/share/reader/printed
mkdir "$printed"
for block in /share/reader/[0-9]*; do
    kept=$printed/${block##*/}
    mkdir "$kept"
    # Files of the share are root's to make.
    install -d -o user /tmp/printed
    status=0
    runuser --login user --command ". /share/typist.sh $block" || status=$?
    cp /tmp/printed/* "$kept"
    if [ $status != 0 ]; then
        for step in /tmp/printed/*; do
            echo "\$ $(cat "$block/${step##*/}")"
            cat "$step"
        done
        echo "error: this block failed"
        exit 1
    fi
    rm -r /tmp/printed
done
