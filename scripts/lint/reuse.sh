#!/usr/bin/env bash
# Every file has a licence (https://reuse.software), and the sessions in antsibull-nox.toml are well-formed.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
scripts/venv.sh nox
build/nox/bin/reuse lint --quiet || build/nox/bin/reuse lint
say "every file has a licence"
build/nox/bin/antsibull-nox lint-config
