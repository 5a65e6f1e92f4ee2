#!/usr/bin/env bash
# Runs pytest on one folder of tests/. The outcome and duration of each test stay in build/log/junit.
# Usage: pytest.sh [--private] folder [pytest options]
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
wrap=()
if [ "$1" = --private ]; then
    wrap=(scripts/test/private.sh)
    shift
fi
mkdir -p build/log/junit
folder=${1#tests/}
junit=build/log/junit/${folder%%/*}${PYROUTE2_VERSION:+-$PYROUTE2_VERSION}.xml
exec ${wrap[@]+"${wrap[@]}"} python -m pytest --durations=15 --durations-min=5 --junitxml "$junit" "$@"
