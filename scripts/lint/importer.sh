#!/usr/bin/env bash
# Builds the collection, and imports the result as Ansible Galaxy would.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "the built collection, as Ansible Galaxy sees it"
venv=build/importer
scripts/venv.sh importer

rm -rf build/dist
ansible-galaxy collection build --output-path build/dist >/dev/null
archive=$(echo build/dist/*.tar.gz)

# Nothing that git ignores may slip into what users install.
stray=$(tar --list --file "$archive" | grep -vE '/$|^(MANIFEST|FILES)\.json$' | sort |
    comm -23 - <(git ls-files --cached --others --exclude-standard | sort))
[ -z "$stray" ] || die "in the archive, but not in the repository: $stray"

log=$ROOT/build/importer.log
cd build/dist # where it leaves its result
status=0
# ansible-lint and sanity run by themselves, on more than the archive holds.
PATH="$ROOT/$venv/bin:$PATH" GALAXY_IMPORTER_RUN_ANSIBLE_LINT=false GALAXY_IMPORTER_CHECK_REQUIRED_TAGS=true \
    python -m galaxy_importer.main "$(basename "$archive")" >"$log" 2>&1 || status=$?
if [ "$status" != 0 ] || grep -qE '^(WARNING|ERROR|CRITICAL)' "$log" || ! grep -q 'Importer processing completed' "$log"; then
    cat "$log"
    die "the importer is not satisfied"
fi
say "imported $(basename "$archive") without a warning"
