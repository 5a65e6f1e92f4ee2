#!/usr/bin/env bash
# The tests on a real kernel, once with each of PYROUTE2_VERSIONS.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
failed=()
for version in ${PYROUTE2_VERSIONS:-0.7.2 0.9.7}; do
    target=build/pyroute2/$version
    if [ ! -e "$target/.complete" ]; then
        say "fetching pyroute2 $version"
        rm -rf "$target"
        python -m pip install -qq --no-deps --target "$target" "pyroute2==$version"
        touch "$target/.complete"
    fi
    say "kernel tests with pyroute2 $version"
    status=0
    PYROUTE2_VERSION=$version scripts/pytest.sh --private tests/kernel "$@" || status=$?
    [ "$status" != "$SKIPPED" ] || exit "$SKIPPED"
    [ "$status" = 0 ] || failed+=("$version")
done
[ ${#failed[@]} = 0 ] || die "failed with pyroute2 ${failed[*]}"
