#!/usr/bin/env bash
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "style and common errors of Python, then its format"
status=0
ruff check . || status=1
ruff format --check . || status=1
exit "$status"
