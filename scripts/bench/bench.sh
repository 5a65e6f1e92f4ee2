#!/usr/bin/env bash
# What the path costs beside other ways to build it, on this machine, in namespaces of its own. Results: build/bench.
# Variables: SIZES, ROUNDS, IDIOMATIC and IDIOMATIC_ROUNDS (sizes and rounds of the slowest), ONLY (names of what is run).
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
missing=()
for pair in gcc:gcc iptables:iptables /usr/include/linux/netlink.h:linux-libc-dev /usr/include/stdio.h:libc6-dev \
    /usr/lib/cni/bridge:containernetworking-plugins /usr/lib/podman/netavark:netavark; do
    command -v "${pair%:*}" >/dev/null || [ -e "${pair%:*}" ] || missing+=("${pair#*:}")
done
[ ${#missing[@]} = 0 ] || scripts/setup/apt.sh "${missing[@]}"
scripts/setup/venv.sh bench
read -ra sizes <<<"${SIZES:-10 100 500 1000}"
read -ra idiomatic <<<"${IDIOMATIC-10 100}"
read -ra only <<<"${ONLY:-}"
exec python -m tests.bench --sizes "${sizes[@]}" --rounds "${ROUNDS:-5}" --idiomatic "${idiomatic[@]}" \
    --idiomatic-rounds "${IDIOMATIC_ROUNDS:-${ROUNDS:-5}}" --only "${only[@]}"
