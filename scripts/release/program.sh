#!/usr/bin/env bash
# Writes build/netpath-egress, the program for hosts without Ansible. It needs nothing but Python.
# Usage: build-program.sh [interpreter]
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
PYTHONPATH=plugins/module_utils python3 -m _engine.program.bundle build/netpath-egress "$@"
say "build/netpath-egress is there"
