#!/usr/bin/env bash
# The CNI plugin "bridge" with "host-local" for addresses, called once for each namespace, as a container engine calls it.
# Usage: cni.sh COUNT    What it writes stays in /run.
set -euo pipefail
export CNI_PATH=${CNI_PATH:-/usr/lib/cni} CNI_COMMAND=ADD CNI_IFNAME=eth0
folder=$(mktemp -d /run/cni.XXXXXX)

cat >"$folder/network" <<EOF
{
  "cniVersion": "1.0.0", "name": "bench", "type": "bridge",
  "bridge": "br0", "isGateway": true, "ipMasq": true,
  "ipam": {
    "type": "host-local", "dataDir": "$folder",
    "ranges": [[{"subnet": "10.22.0.0/16"}]],
    "routes": [{"dst": "0.0.0.0/0"}]
  }
}
EOF
sysctl -qw net.ipv4.ip_forward=1
for ((number = 1; number <= $1; number++)); do
    ip netns add "s$number"
    CNI_CONTAINERID=s$number CNI_NETNS=/run/netns/s$number \
        "$CNI_PATH/bridge" <"$folder/network" >"$folder/answer" || { cat "$folder/answer" >&2 && exit 1; }
done
