#!/usr/bin/env bash
# Tests on Debian's stock kernels, which QEMU emulates: no rights and no device of the machine are needed, but packages are,
# which root gets installed. By default Linux 6.1 and one test on 6.12; NIGHTLY=1 has all tests on all kernels.
# Usage: stock.sh [pytest options]
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
if [ "$(id -u)" = 0 ]; then
    read -ra missing <<<"$(python -m tests.lab.stock.requirements missing)"
    [ ${#missing[@]} = 0 ] || scripts/setup/apt.sh "${missing[@]}" || true
fi
kernels=(6.1 6.12)
[ "${NIGHTLY:-0}" = 0 ] || kernels=(5.10 "${kernels[@]}")
say "stock kernels ${kernels[*]}"
if ! reason=$(python -m tests.lab.stock.requirements 2>&1 && python -m tests.lab.stock.kernels "${kernels[@]}" 2>&1); then
    echo "SKIPPED: $(tail -n 1 <<<"$reason")"
    exit "$SKIPPED"
fi
exec scripts/test/pytest.sh tests/stock "$@"
