#!/usr/bin/env bash
# The tests on a real kernel, with each of PYROUTE2_VERSIONS, at the same time: they wait more than they compute.
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

# Those in which pyroute2 does no more than in others: with the last version alone. Booted nodes of Debian 12 have the first.
once=(    base_chains changed_in_place collector confirmation diagnosis diagnosis_combined diagnosis_healthy
    diagnosis_odd_hosts diagnosis_probes diagnosis_undescribed drift drop_ins fault_sweep field_events foreign_state
    iptables iptables_of_others journal kill_sweep lab_world lock module_examples mss nftables ownership predictions
    program program_apply program_module program_watch publish repair security translation_choices
)

run() {
    local workers=4 left_out=()
    [ "$1" = "${versions[-1]}" ] || workers=1 left_out=("${once[@]/#/--ignore=tests/kernel/test_}")
    # Each file has worlds of its own. They begin in the order of tests/kernel/conftest.py.
    PYROUTE2_VERSION=$1 scripts/test/pytest.sh --private tests/kernel -n "$workers" --dist loadfile --no-loadscope-reorder \
        -o "cache_dir=build/.pytest_cache-$1" ${left_out[@]+"${left_out[@]/%/.py}"} "${@:2}" 2>&1 |
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
