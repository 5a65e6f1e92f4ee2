#!/usr/bin/env bash
# Runs every part even when one fails, and sums up. Nothing is run twice: a test that fails once has failed. In CI, a part
# that cannot run, and a skip that tests/expected_skips.toml does not name, are failures.
# NIGHTLY=1 takes all combinations, which needs hours.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
rm -rf build/log/junit
mkdir -p build/log/junit
summary=()
failures=()
result=0

# Runs a part in this shell, which has no other children, and keeps how much processor time it took.
timed() {
    local part=$1 status=0
    shift
    "$@" || status=$?
    # Not in a pipe, which would be a shell without children.
    times >"build/log/$part.processor"
    return "$status"
}

# Takes what a part wrote and how it ended into the summary.
judge() {
    local part=$1 status=$2 seconds=$3 word counts processor
    processor=$(awk -F '[ms ]' 'NR == 2 { printf "%d", 60 * $1 + $2 + 60 * $4 + $5 }' "build/log/$part.processor")
    case $status in
    0) word=passed ;;
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
    fi
    summary+=("$(printf '%-10s %4d s, %4d s of processor time  %s' "$part" "$seconds" "$processor" "$word")")
}

background=()
stop() {
    local pid
    for pid in "${background[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts a part beside the others, as a process group of its own, and keeps how long it takes.
start() {
    local part=$1
    shift
    set -m
    {
        status=0
        timed "$part" "$@" || status=$?
        echo "$status $SECONDS" >"build/log/$part.status"
    } >"build/log/$part.log" 2>&1 </dev/null &
    background+=($!)
    set +m
}

mapfile -t recipes < <(python -c 'from tests.support.recipes import ALL; print(*ALL, sep="\n")')
rm -f build/log/*.status build/log/*.processor
echo "== lint, the stock kernels and the root file systems of booted nodes, beside the others; logs in build/log"
start rootfs nice -n 10 scripts/setup/rootfs.sh "${recipes[@]}"
LINT_JOBS=1 start lint nice -n 19 scripts/lint/all.sh
start stock nice -n 19 scripts/test/stock.sh

for part in unit kernel playbooks compat browser system molecule; do
    echo "== $part"
    began=$SECONDS
    status=0
    timed "$part" "scripts/test/$part.sh" 2>&1 | tee "build/log/$part.log" || status=$?
    judge "$part" "$status" $((SECONDS - began))
done
for index in "${!background[@]}"; do wait "${background[index]}" || true; done
for part in lint stock; do
    echo "== $part"
    cat "build/log/$part.log"
    read -r status seconds <"build/log/$part.status" || status=1 seconds=$SECONDS
    judge "$part" "$status" "$seconds"
done

echo "== durations"
python scripts/test/durations.py build/log/junit
echo "== summary"
printf '%s\n' "${summary[@]}"
# Of a long log often only the end is kept: what failed is said there again, with its errors.
for part in ${failures[@]+"${failures[@]}"}; do
    echo "== $part failed; the whole log is build/log/$part.log"
    grep -aE '^([0-9.]+: )?(FAILED|ERROR|E  |_{5,} |fatal: |[^ ]+: error: )' "build/log/$part.log" | cut -c 1-300 | tail -n 60 || true
done
[ "$result" = 0 ]
