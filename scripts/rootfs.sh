#!/usr/bin/env bash
# Makes the root file systems that booted nodes share, unless they are in the user's cache. That needs real root.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
[ "$(id -u)" != 0 ] || scripts/setup.sh booted
if ! reason=$(python -m tests.lab boot list 2>&1 >/dev/null); then
    echo "SKIPPED: $reason"
    exit "$SKIPPED"
fi
say "root file systems"
mapfile -t recipes < <(python -c 'from tests.booted.recipes import ALL; print(*ALL, sep="\n")')
python -m tests.lab boot rootfs "${recipes[@]}" >/dev/null
