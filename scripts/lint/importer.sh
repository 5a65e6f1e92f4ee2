#!/usr/bin/env bash
# Builds the collection, and imports the result as Ansible Galaxy would.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "the built collection, as Ansible Galaxy sees it"
venv=build/venv/importer
scripts/setup/venv.sh importer

scripts/release/build.sh build/imported
archive=$(echo build/imported/dist/*.tar.gz)

log=$ROOT/build/importer.log
cd build/imported/dist # where it leaves its result
status=0
# ansible-lint and sanity run by themselves, on more than the archive holds.
PATH="$ROOT/$venv/bin:$PATH" GALAXY_IMPORTER_RUN_ANSIBLE_LINT=false GALAXY_IMPORTER_CHECK_REQUIRED_TAGS=true \
    python -m galaxy_importer.main "$(basename "$archive")" >"$log" 2>&1 || status=$?
if [ "$status" != 0 ] || grep -qE '^(WARNING|ERROR|CRITICAL)' "$log" || ! grep -q 'Importer processing completed' "$log"; then
    cat "$log"
    die "the importer is not satisfied"
fi
say "imported $(basename "$archive") without a warning"
