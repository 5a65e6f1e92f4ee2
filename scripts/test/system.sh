#!/usr/bin/env bash
# The lab of booted nodes. It makes its own private world, and needs real root for that.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
scripts/setup/rootfs.sh
say "tests of booted nodes"
# Two at a time: files of one group share a lab.
exec scripts/test/pytest.sh tests/system -n 2 --dist loadgroup "$@"
