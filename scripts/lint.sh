#!/usr/bin/env bash
# Runs every check in scripts/lint, all of them even when one fails. Usage: lint.sh [check...]
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
if [ $# = 0 ]; then
    set -- ruff mypy yamllint ansible-lint changelog sanity importer
fi
failed=()
for check in "$@"; do
    began=$SECONDS
    "scripts/lint/$check.sh" || failed+=("$check")
    echo "$check: $((SECONDS - began)) s"
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
say "all passed: $*"
