#!/usr/bin/env bash
# The tests on a real kernel, with each of PYROUTE2_VERSIONS, at the same time: they wait more than they compute.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

fetch() {
    local target=build/pyroute2/$1
    [ ! -e "$target/.complete" ] || return 0
    say "fetching pyroute2 $1"
    rm -rf "$target"
    python -m pip install -qq --no-deps --target "$target" "pyroute2==$1"
    touch "$target/.complete"
}

# Long ones, in which pyroute2 does no more than in others: with the last version alone.
once=(--ignore=tests/kernel/test_diagnosis_{combined,healthy,odd_hosts,probes,undescribed}.py)

run() {
    local left_out=()
    [ "$1" = "${versions[-1]}" ] || left_out=("${once[@]}")
    # Each file has worlds of its own.
    PYROUTE2_VERSION=$1 scripts/pytest.sh --private tests/kernel -n 2 --dist loadfile \
        -o "cache_dir=build/.pytest_cache-$1" ${left_out[@]+"${left_out[@]}"} "${@:2}" 2>&1 |
        sed -u "s/^/$1: /"
}

read -ra versions <<<"${PYROUTE2_VERSIONS:-0.7.2 0.9.7}"
for version in "${versions[@]}"; do fetch "$version"; done
say "kernel tests with pyroute2 ${versions[*]}"
jobs=()
# In the background too, an interrupt must end the tests.
trap 'kill "${jobs[@]}" 2>/dev/null || true' INT TERM
for version in "${versions[@]}"; do
    run "$version" "$@" &
    jobs+=($!)
done
failed=()
outcome=0
for index in "${!jobs[@]}"; do
    status=0
    wait "${jobs[index]}" || status=$?
    case $status in
    0) ;;
    "$SKIPPED") outcome=$SKIPPED ;;
    *) failed+=("${versions[index]}") ;;
    esac
done
[ ${#failed[@]} = 0 ] || die "failed with pyroute2 ${failed[*]}"
exit "$outcome"
