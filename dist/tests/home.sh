# SPDX-License-Identifier: MIT OR Apache-2.0
#
# For other scripts: makes a user with a checkout, and with the crates that there is no network to get from.
useradd --create-home --shell /bin/bash user
# What somebody has at home is theirs, and not looked at.
mount -t tmpfs -o mode=755 tmpfs /home/user
# cargo goes by the times of files.
tar -C /home/user -xf /share/checkout.tar
mkdir /home/user/.cargo
cat > /home/user/.cargo/config.toml <<'END'
[build]
target-dir = "/home/user/target"
[profile.dev]
debug = false
[source.crates-io]
replace-with = "share"
[source.share]
directory = "/share/crates"
END
chown -R user: /home/user
