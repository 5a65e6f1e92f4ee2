#!/usr/bin/env bash
# Runs ansible-test, which wants a real path ending in ansible_collections/netpath/egress, in a copy.
# Usage: ansible-test.sh sanity|units [options]
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
copy=$ROOT/build/ansible-test/$1/ansible_collections/netpath/egress
home=$ROOT/build/ansible-test/$1/home
log=$ROOT/build/ansible-test/$1/log

rm -rf "$copy"
mkdir -p "$copy" "$home/.ansible/test/cache"
# Listed by git, a file may be deleted already.
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null --files-from=- --create | tar --extract --directory "$copy"
# A repository of its own, or ansible-test would find the one around it, which ignores all of build/.
git init --quiet "$copy"

# Its environments and downloads stay in build/, but pip must keep the user's settings and cache.
for name in .config .pip .cache .netrc; do
    [ ! -e "$HOME/$name" ] || ln -sfn "$HOME/$name" "$home/$name"
done

# ansible-test fetches a script that installs pip from a host which some networks do not reach; ensurepip serves as well.
python scripts/lint/bootstrap_pip.py "$home/.ansible/test/cache"

cd "$copy"
# It finds the copy by where it stands, and not the checkout.
unset PYTHONPATH ANSIBLE_COLLECTIONS_PATH
HOME=$home ansible-test "$1" --color no "${@:2}" 2>&1 | tee "$log" |
    grep --line-buffered -E '^(Running sanity|ERROR|FATAL|FAILED|E  |=.*(passed|failed))'
! grep -q 'All targets skipped' "$log" || die "ansible-test found nothing to check"
