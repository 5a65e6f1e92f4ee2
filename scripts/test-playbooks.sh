#!/usr/bin/env bash
# The playbooks end to end, in a private network.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
# The rule set for ansible-rulebook is tried with it; it decides by a library in Java.
command -v java >/dev/null || [ "$(id -u)" != 0 ] || scripts/apt.sh default-jre-headless || true
scripts/venv.sh rulebook
say "playbook tests"
# Two at a time: tests of one group share a run of Ansible, each other one has a world of its own.
exec "$ROOT/scripts/pytest.sh" --private tests/playbooks -n 2 --dist loadgroup "$@"
