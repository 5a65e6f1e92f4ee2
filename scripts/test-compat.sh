#!/usr/bin/env bash
# The playbooks with each Python and pyroute2 on the hosts, and each ansible-core on the controller, as far as an interpreter for
# it is installed. Usage: test-compat.sh [--ends] [pytest options]    --ends: the oldest and the newest alone.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
COMPAT_PYTHONS=$(scripts/pythons.sh 3.9 3.10 3.11 3.12 3.13 3.14)
export COMPAT_PYTHONS
if [ "${1:-}" = --ends ]; then
    export COMPAT_ENDS=1
    shift
fi
say "versions of Python, pyroute2 and ansible-core"
python -m tests.compat.environments
exec scripts/pytest.sh --private tests/compat -n 2 "$@"
