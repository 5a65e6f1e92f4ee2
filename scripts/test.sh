#!/usr/bin/env bash
# Runs every part even when one fails, and sums up. In CI, where nobody reads it, a part that cannot run is a failure.
# What fails is run once more: on a busy machine a test may wait too long, which is told, and no reason to refuse a change.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
mkdir -p build/log
summary=()
failures=()
unsteady=()
result=0
export ONCE_MORE=1

# Takes what a part wrote and how it ended into the summary.
judge() {
    local part=$1 status=$2 seconds=$3 word counts
    case $status in
    0)
        word=passed
        ! grep -q ': what failed, once more' "build/log/$part.log" || unsteady+=("$part")
        ;;
    "$SKIPPED") word=$(grep -m1 '^SKIPPED' "build/log/$part.log" || echo SKIPPED) ;;
    *)
        word=FAILED
        failures+=("$part")
        ;;
    esac
    if [ "$status" != 0 ] && { [ "$status" != "$SKIPPED" ] || [ -n "${CI:-}" ]; }; then
        result=1
    fi
    if counts=$(grep -E '^([0-9.]+: )?(=+ )?[0-9]+ (passed|failed|skipped).* in [0-9.]+s' "build/log/$part.log"); then
        word+=" ($(tr -d '=' <<<"$counts" | xargs -d '\n' printf '%s;' | sed 's/ *; */; /g; s/; $//; s/^ *//; s/  */ /g'))"
    elif grep -q 'there are no tests' "build/log/$part.log"; then
        word="no tests yet"
    fi
    summary+=("$(printf '%-15s %4d s  %s' "$part" "$seconds" "$word")")
}

# The tests wait more than they compute. What only computes fills the gaps, and is told at the end.
background=()
stop() {
    local pid
    for pid in "${background[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mapfile -t recipes < <(python -c 'from tests.support.recipes import ALL; print(*ALL, sep="\n")')
# A process group for each, to end it with all that it started.
set -m
echo "== lint and the root file systems of booted nodes, in the background; logs in build/log"
nice -n 19 scripts/rootfs.sh "${recipes[@]}" >build/log/rootfs.log 2>&1 </dev/null &
background+=($!)
LINT_JOBS=1 nice -n 19 scripts/lint.sh >build/log/lint.log 2>&1 </dev/null &
lint=$!
background+=("$lint")
set +m

for part in test-unit test-kernel test-playbooks test-compat test-browser test-system test-molecule; do
    echo "== $part"
    began=$SECONDS
    status=0
    options=()
    [ "$part" != test-compat ] || options=(--ends)
    "scripts/$part.sh" ${options[@]+"${options[@]}"} 2>&1 | tee "build/log/$part.log" || status=$?
    judge "$part" "$status" $((SECONDS - began))
done
echo "== lint"
status=0
wait "$lint" || status=$?
cat build/log/lint.log
judge lint "$status" "$SECONDS"

echo "== summary"
printf '%s\n' "${summary[@]}"
# Of a long log often only the end is kept: what failed is said there again, with its errors.
tell() {
    echo "== $1 $2; all of it is in build/log/$1.log"
    grep -aE '^([0-9.]+: )?(FAILED|ERROR|E  |_{5,} |fatal: )' "build/log/$1.log" | cut -c 1-300 | tail -n 60 || true
}
for part in "${unsteady[@]}"; do tell "$part" "passed only when what failed was run once more"; done
for part in "${failures[@]}"; do tell "$part" failed; done
[ "$result" = 0 ]
