#!/usr/bin/env bash
# Runs every check in scripts/lint, two at a time, all of them even when one fails. Usage: all.sh [check...]
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
# The longest first, so that none is left alone at the end.
# The unit tests run in a part of their own; with the loader of ansible-test only at night.
[ $# != 0 ] || set -- ansible-lint sanity ${NIGHTLY:+units} mypy importer docs changelog yamllint reuse ruff
logs=$ROOT/build/log/lint
mkdir -p "$logs"
# A process group for each check, to end it with all that it started.
set -m
declare -A running=() began=()
passed=() failed=()
trap 'for pid in "${!running[@]}"; do kill -- "-$pid" 2>/dev/null || true; done' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

finish() {
    local pid status=0
    wait -n -p pid || status=$?
    local check=${running[$pid]}
    unset "running[$pid]"
    cat "$logs/$check.log"
    echo "$check: $((SECONDS - began[$check])) s"
    if [ "$status" = 0 ]; then passed+=("$check"); else failed+=("$check"); fi
}

for check in "$@"; do
    [ ${#running[@]} -lt "${LINT_JOBS:-2}" ] || finish
    "scripts/lint/$check.sh" >"$logs/$check.log" 2>&1 </dev/null &
    running[$!]=$check
    began[$check]=$SECONDS
done
while [ ${#running[@]} != 0 ]; do
    finish
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
say "all passed: ${passed[*]}"
