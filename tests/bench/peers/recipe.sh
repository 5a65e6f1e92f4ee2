#!/usr/bin/env bash
# The way of the guides: an ip(8) for every step, one namespace after the other. Usage: recipe.sh COUNT
set -euo pipefail
subnet=10.22.0.0/16 gateway=10.22.0.1

connect() {
    local name=$1 address=$2 outside=v-$1 inside=p-$1
    ip netns add "$name"
    ip link add "$outside" type veth peer name "$inside"
    ip link set "$inside" netns "$name"
    ip link set "$outside" master br0
    ip link set "$outside" up
    ip netns exec "$name" ip link set lo up
    ip netns exec "$name" ip link set "$inside" name eth0
    ip netns exec "$name" ip addr add "$address/16" dev eth0
    ip netns exec "$name" ip link set eth0 up
    ip netns exec "$name" ip route add default via "$gateway"
}

ip link add br0 type bridge
ip addr add "$gateway/16" dev br0
ip link set br0 up
sysctl -qw net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -s "$subnet" ! -o br0 -j MASQUERADE
for ((number = 1; number <= $1; number++)); do
    connect "s$number" "10.22.$(((number + 1) / 256)).$(((number + 1) % 256))"
done
