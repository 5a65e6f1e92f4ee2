#!/usr/bin/env bash
# The playbooks end to end, in a private network.
set -euo pipefail
. "$(dirname "$0")/env.sh"
say "playbook tests"
# Two at a time: each test has a world of its own.
exec "$ROOT/scripts/pytest.sh" --private tests/playbooks -n 2 "$@"
