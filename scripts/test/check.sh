#!/usr/bin/env bash
# What a change needs before it is worth more: style, types, the unit tests, and the tests of the kernel and of playbooks
# that carry the marker "smoke". Two things at a time.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
LINT_JOBS=1 scripts/lint/all.sh ruff yamllint mypy >build/check-lint.log 2>&1 </dev/null &
lint=$!
trap 'kill "$lint" 2>/dev/null || true' EXIT
result=0
scripts/test/unit.sh -q || result=1
scripts/test/pytest.sh --private tests/kernel -q -m smoke -n 2 || result=1
scripts/test/pytest.sh --private tests/playbooks -q -m smoke || result=1
wait "$lint" || result=1
trap - EXIT
cat build/check-lint.log
[ "$result" = 0 ] || die "failed"
say "all passed"
