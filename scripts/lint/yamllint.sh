#!/usr/bin/env bash
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "layout of YAML files"
yamllint --strict .
