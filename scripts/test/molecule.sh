#!/usr/bin/env bash
# The scenarios in molecule/, on booted nodes, a few at a time. They make their own private worlds, and need real root.
# Usage: molecule.sh [scenario...]    Without any, all of them. MOLECULE_JOBS says how many run at a time.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
scripts/setup/rootfs.sh
# The longest first, so that none is left alone at the end.
[ $# != 0 ] || set -- diagnose fleet firewalls chaos inclusion default upgrade dual-stack
if [ -n "${SHARD:-}" ]; then
    # SHARD=1/2: every second scenario, from the first.
    all_of_them=("$@")
    set --
    for ((i = ${SHARD%/*} - 1; i < ${#all_of_them[@]}; i += ${SHARD#*/})); do set -- "$@" "${all_of_them[i]}"; done
fi
for scenario in "$@"; do
    [ -e "molecule/$scenario/molecule.yml" ] || die "there is no scenario '$scenario' in molecule/"
done
logs=$ROOT/build/log/molecule
mkdir -p "$logs"
# What Molecule remembers of a scenario must not serve that of another checkout.
export MOLECULE_GLOB='molecule/*/molecule.yml' ANSIBLE_HOME=$ROOT/build/ansible
# The path of a socket must be short.
export ANSIBLE_SSH_CONTROL_PATH_DIR=$HOME/.ansible/cp

# A process group for each scenario, to end it with all that it started.
set -m
declare -A running=() began=()
passed=() failed=()

# However the run ends, it leaves no lab.
destroy() { [ ! -e "build/lab/molecule-$1" ] || python -m tests.lab boot destroy "molecule-$1"; }
stop() {
    for pid in "${!running[@]}"; do
        kill -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        destroy "${running[$pid]}"
    done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() {
    molecule test --scenario-name "$1" >"$logs/$1.log" 2>&1 </dev/null &
    running[$!]=$1
    began[$1]=$SECONDS
}

# Waits for one that ends.
finish() {
    local pid status=0
    wait -n -p pid || status=$?
    local scenario=${running[$pid]}
    unset "running[$pid]"
    local seconds=$((SECONDS - began[$scenario]))
    if [ -e "build/lab/molecule-$scenario" ]; then
        echo "the scenario left its lab" >>"$logs/$scenario.log"
        destroy "$scenario"
        status=1
    fi
    if [ "$status" = 0 ]; then
        say "$scenario passed in $seconds s"
        passed+=("$scenario")
    else
        tail -n 120 "$logs/$scenario.log"
        say "$scenario failed after $seconds s; logs are $logs/$scenario.log and those in build/log/lab/molecule-$scenario"
        failed+=("$scenario")
    fi
}

say "$*; logs in $logs"
for scenario in "$@"; do
    [ ${#running[@]} -lt "${MOLECULE_JOBS:-2}" ] || finish
    start "$scenario"
done
while [ ${#running[@]} != 0 ]; do
    finish
done
counts="${#passed[@]} passed"
[ ${#failed[@]} = 0 ] || counts="${#failed[@]} failed, $counts"
# In the form of pytest, for the summary of all parts.
echo "$counts in ${SECONDS}s"
[ ${#failed[@]} = 0 ]
