#!/usr/bin/env bash
# The lab of booted nodes. It makes its own private world, and needs real root for that.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
[ "$(id -u)" != 0 ] || scripts/setup.sh booted
if ! reason=$(python -m tests.lab boot list 2>&1 >/dev/null); then
    echo "SKIPPED: $reason"
    exit "$SKIPPED"
fi
say "root file systems"
python -m tests.lab boot rootfs >/dev/null
say "tests of booted nodes"
exec scripts/pytest.sh tests/booted "$@"
