# SPDX-License-Identifier: MIT OR Apache-2.0
"""Whether the manifest for Kubernetes hangs together, as far as that can be told without a cluster.

    python3 kubernetes.py generic-device-plugin.yaml
"""

import sys

import yaml

# What the plugin's documentation says of a device, its groups and their paths.
DEVICE = {"name", "groups"}
GROUP = {"count", "paths"}
PATH = {"path", "mountPath", "permissions", "readOnly", "type", "limit"}

[manifest] = yaml.safe_load_all(open(sys.argv[1]))
assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "DaemonSet")
spec = manifest["spec"]
pod = spec["template"]["spec"]
assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
[container] = pod["containers"]
volumes = {volume["name"] for volume in pod["volumes"]}
assert volumes == {mount["name"] for mount in container["volumeMounts"]}

args = container["args"]
assert args[::2] == ["--device"] * (len(args) // 2) and len(args) % 2 == 0
names = []
for text in args[1::2]:
    device = yaml.safe_load(text)
    assert device.keys() == DEVICE, device
    names.append(device["name"])
    for group in device["groups"]:
        assert group.keys() <= GROUP and group["count"] > 0, group
        for path in group["paths"]:
            assert path.keys() <= PATH and path["path"].startswith("/dev/chrmem"), path
            # The plugin's default would let containers make nodes of any device of this number.
            assert path["permissions"] == "rw", path
assert names and len(set(names)) == len(names), names
print("resources:", ", ".join(names))
