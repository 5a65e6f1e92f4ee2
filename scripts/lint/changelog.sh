#!/usr/bin/env bash
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "changelog fragments, and changelog.yaml"
antsibull-changelog lint
antsibull-changelog lint-changelog-yaml changelogs/changelog.yaml
