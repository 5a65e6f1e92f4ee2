#!/usr/bin/env bash
# Runs pytest on one folder. A folder without tests is said so; pytest alone would call that a failure.
# Usage: pytest.sh [--private] folder [pytest options]
# With ONCE_MORE set, what failed is run once more by itself, up to the first that fails again; both outcomes are shown.
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
[ -n "${ONCE_MORE:-}" ] || exec ${wrap[@]+"${wrap[@]}"} python -m pytest "$@"
status=0
${wrap[@]+"${wrap[@]}"} python -m pytest "$@" || status=$?
[ "$status" = 1 ] || exit "$status"
say "what failed, once more"
exec ${wrap[@]+"${wrap[@]}"} python -m pytest "$@" -n 0 --exitfirst --last-failed --last-failed-no-failures none
