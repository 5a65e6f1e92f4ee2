#!/usr/bin/env bash
# Builds the collection, build/dist/netpath-egress-VERSION.tar.gz, and installs it into build/installed, an empty path, with
# no more of it than Ansible itself needs. Usage: build.sh [folder in place of build]
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
dist=$(realpath -m "${1:-build}/dist") installed=$(realpath -m "${1:-build}/installed")
collection=$installed/ansible_collections/netpath/egress

rm -rf "$dist" "$installed"
ansible-galaxy collection build --output-path "$dist" >/dev/null
archive=$(echo "$dist"/*.tar.gz)

# Nothing that git ignores may slip into what users install.
stray=$(tar --list --file "$archive" | grep -vE '/$|^(MANIFEST|FILES)\.json$' | sort |
    comm -23 - <(git ls-files --cached --others --exclude-standard | sort))
[ -z "$stray" ] || die "in the archive, but not in the repository: $stray"

# It would find the checkout, and leave it at that.
env -u PYTHONPATH ANSIBLE_COLLECTIONS_PATH="$installed" \
    ansible-galaxy collection install --offline --collections-path "$installed" "$archive" >/dev/null
find "$collection" -mindepth 1 -maxdepth 1 ! -name '*.json' ! -name meta ! -name plugins ! -name playbooks ! -name roles \
    -exec rm -rf {} +
say "$archive is there, and installed: COLLECTIONS=$installed make demo"
