#!/usr/bin/env bash
# Runs pytest on one folder. A folder without tests is said so; pytest alone would call that a failure.
# Usage: pytest.sh [--private] folder [pytest options]
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
wrap=()
if [ "$1" = --private ]; then
    wrap=(scripts/private.sh)
    shift
fi
if [ -z "$(find "$1" -name 'test_*.py' -print -quit 2>/dev/null)" ]; then
    say "there are no tests in $1 yet"
    exit 0
fi
exec ${wrap[@]+"${wrap[@]}"} python -m pytest "$@"
