#!/usr/bin/env bash
# The playbooks with each Python and pyroute2 on the hosts, and each ansible-core on the controller, as far as an interpreter for
# it is installed: the oldest and the newest of each, or with NIGHTLY=1 all of them. Usage: compat.sh [pytest options]
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
COMPAT_PYTHONS=$(scripts/setup/find-pythons.sh 3.9 3.10 3.11 3.12 3.13 3.14)
export COMPAT_PYTHONS
say "versions of Python, pyroute2 and ansible-core"
python -m tests.compat.environments
exec scripts/test/pytest.sh --private tests/compat -n 2 "$@"
