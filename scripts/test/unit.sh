#!/usr/bin/env bash
# The tests that need neither root nor a kernel of their own.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
say "unit tests"
exec "$ROOT/scripts/test/pytest.sh" tests/unit -n 2 "$@"
