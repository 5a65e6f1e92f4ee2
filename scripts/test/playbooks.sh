#!/usr/bin/env bash
# The playbooks end to end, in a private network.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
# The rule set for ansible-rulebook is tried with it; it decides by a library in Java.
command -v java >/dev/null || [ "$(id -u)" != 0 ] || scripts/setup/apt.sh default-jre-headless || true
scripts/setup/venv.sh rulebook
say "playbook tests"
# Two at a time: each test has a world of its own.
exec "$ROOT/scripts/test/pytest.sh" --private tests/playbooks -n 2 "$@"
