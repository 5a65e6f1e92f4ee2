#!/usr/bin/env bash
# Writes requirements/NAME.txt, all packages with versions and hashes, from requirements/NAME.in.
# Usage: lock.sh [--upgrade] [NAME...]    Without --upgrade, versions that a .txt file has already stay.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
scripts/setup/venv.sh lock
options=(--quiet --generate-hashes --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url)
if [ "${1:-}" = --upgrade ]; then
    options+=(--upgrade)
    shift
fi
cd requirements
[ $# != 0 ] || set -- *.in
for name in "${@%.in}"; do
    say "requirements/$name.txt"
    ../build/venv/lock/bin/uv pip compile "${options[@]}" "$name.in" --output-file "$name.txt"
done
