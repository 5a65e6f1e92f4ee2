#!/usr/bin/env bash
# Makes root file systems that booted nodes share, unless they are in the user's cache. That needs real root.
# Usage: rootfs.sh [recipe...]    Without any, those of the releases; what else a node needs is made with its lab.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
[ "$(id -u)" != 0 ] || scripts/setup/setup.sh booted
if ! reason=$(python -m tests.lab boot list 2>&1 >/dev/null); then
    echo "SKIPPED: $reason"
    exit "$SKIPPED"
fi
say "root file systems"
python -m tests.lab boot rootfs "$@" >/dev/null
