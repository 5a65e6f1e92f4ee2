#!/usr/bin/env bash
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "ansible-test sanity"

# It runs each Python that it finds on PATH.
wanted=(3.9 3.10 3.11 3.12 3.13) versions=() path=
while read -r version interpreter; do
    versions+=("$version")
    path+=:${interpreter%/*}
done < <(scripts/setup/find-pythons.sh "${wanted[@]}")
[ ${#versions[@]} = ${#wanted[@]} ] || say "of Python ${wanted[*]} not all are installed"
say "with Python ${versions[*]}; the first run makes an environment for each and takes two minutes"

skip=(--skip-test pslint)
say "without pslint, as the collection has no PowerShell"
if ! command -v shellcheck >/dev/null; then
    [ "$(id -u)" != 0 ] || "$ROOT/scripts/setup/apt.sh" shellcheck || true
    if ! command -v shellcheck >/dev/null; then
        skip+=(--skip-test shellcheck)
        say "without shellcheck, as its program is not installed"
    fi
fi

PATH=$PATH$path scripts/test/ansible-test.sh sanity "${skip[@]}" "$@"
