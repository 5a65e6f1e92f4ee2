#!/usr/bin/env bash
# The tests on a real kernel, with each of PYROUTE2_VERSIONS, at the same time.
# The last version runs all of them. NIGHTLY=1 takes all places of the sweeps and all hosts.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"

fetch() {
    local target=build/pyroute2/$1
    [ ! -e "$target/.complete" ] || return 0
    say "fetching pyroute2 $1"
    rm -rf "$target"
    python -m pip install -qq --no-deps --require-hashes --target "$target" --requirement "requirements/pyroute2-$1.txt"
    touch "$target/.complete"
}

# pyroute2 gives the layout of messages of netlink and nothing else. With older versions run the tests that send and read
# each kind of message: links, addresses, routes, neighbours, forwarding tables, disciplines, VLANs and connections.
messages=(bandwidth conntrack inventory modules pyroute2_version uplinks vlans)

run() {
    local workers=4 tests=(tests/kernel)
    if [ "$1" != "${versions[-1]}" ]; then
        workers=1
        tests=("${messages[@]/#/tests/kernel/test_}")
        tests=("${tests[@]/%/.py}")
    fi
    # They begin in the order of tests/kernel/conftest.py. A worker that is done takes tests from another, also of the
    # same file: each worker has worlds of its own.
    PYROUTE2_VERSION=$1 scripts/test/pytest.sh --private "${tests[@]}" -n "$workers" --dist worksteal \
        -o "cache_dir=build/.pytest_cache-$1" "${@:2}" 2>&1 |
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
