#!/usr/bin/env bash
# The playbooks end to end, in a private network.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
# The rule set for ansible-rulebook is tried with it; it decides by a library in Java.
if ! command -v java >/dev/null; then
    if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
        scripts/setup/apt.sh default-jre-headless || die "Java is missing, and without it tests/playbooks/test_rulebook.py would be skipped"
    else
        say "Java is missing and cannot be installed here: tests/playbooks/test_rulebook.py is skipped"
    fi
fi
scripts/setup/venv.sh rulebook
say "playbook tests"
# Two at a time: tests of one group share a run of Ansible, each other one has a world of its own.
exec "$ROOT/scripts/test/pytest.sh" --private tests/playbooks -n 2 --dist loadgroup "$@"
