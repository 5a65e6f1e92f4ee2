#!/usr/bin/env bash
# The main job in a private world of namespaces. DEMO_KEEP=1 leaves it standing.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
exec python -m tests.lab.demo "$@"
