#!/usr/bin/env bash
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "roles, playbooks and metadata by the production profile"
ansible-lint --strict
