#!/usr/bin/env bash
# Every file has a licence (https://reuse.software).
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
scripts/setup/venv.sh reuse
build/venv/reuse/bin/reuse lint --quiet || build/venv/reuse/bin/reuse lint
say "every file has a licence"
