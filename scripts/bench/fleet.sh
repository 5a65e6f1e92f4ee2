#!/usr/bin/env bash
# What playbooks cost on booted nodes over SSH, and the report about many hosts. Results: build/bench. It needs real root.
# Variables: NODES, ROUNDS, WAYS (default, tuned, free, mitogen), SUMMARISED (hosts in the report, 0 for none).
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
missing=()
for pair in gcc:gcc /usr/include/stdio.h:libc6-dev; do
    command -v "${pair%:*}" >/dev/null || [ -e "${pair%:*}" ] || missing+=("${pair#*:}")
done
[ ${#missing[@]} = 0 ] || scripts/setup/apt.sh "${missing[@]}"
scripts/setup/venv.sh bench
read -ra nodes <<<"${NODES-10 30 60}"
read -ra ways <<<"${WAYS:-default tuned free mitogen}"
[ ${#nodes[@]} = 0 ] || scripts/setup/rootfs.sh bookworm
exec python -m tests.bench.fleet --nodes "${nodes[@]}" --rounds "${ROUNDS:-5}" --ways "${ways[@]}" \
    --summarised "${SUMMARISED:-1000}"
