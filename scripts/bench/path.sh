#!/usr/bin/env bash
# What packets cost with everything that keeps namespaces to their own, and without it. Results: build/bench.
# Variables: ROUNDS, SECONDS_EACH.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
missing=()
for pair in gcc:gcc nft:nftables /usr/include/stdio.h:libc6-dev; do
    command -v "${pair%:*}" >/dev/null || [ -e "${pair%:*}" ] || missing+=("${pair#*:}")
done
[ ${#missing[@]} = 0 ] || scripts/setup/apt.sh "${missing[@]}"
exec scripts/test/private.sh python -m tests.bench.path --rounds "${ROUNDS:-9}" --seconds "${SECONDS_EACH:-1}"
