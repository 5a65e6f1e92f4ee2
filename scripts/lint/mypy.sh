#!/usr/bin/env bash
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "types: plugins for Python 3.9 as on old nodes, then everything for 3.11"
# Reached through the link, a plugin has the module name that its importers use.
plugins=build/collections/ansible_collections/netpath/egress/plugins
python_in() { [ -n "$(find -L "$1" -name '*.py' -print -quit 2>/dev/null)" ]; }
everything=()
for folder in "$plugins" tests scripts playbooks/labs/files; do
    ! python_in "$folder" || everything+=("$folder")
done
status=0
! python_in "$plugins" || mypy --python-version 3.9 "$plugins" || status=1
[ ${#everything[@]} = 0 ] || mypy --python-version 3.11 "${everything[@]}" || status=1
exit "$status"
