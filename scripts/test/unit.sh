#!/usr/bin/env bash
# The tests that need neither root nor a kernel of their own.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
say "unit tests"
# They only compute, so as many at a time as there are processors.
exec "$ROOT/scripts/test/pytest.sh" tests/unit -n auto "$@"
