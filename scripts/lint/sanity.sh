#!/usr/bin/env bash
# ansible-test wants a real path ending in ansible_collections/netpath/egress, so it gets a copy.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "ansible-test sanity"
copy=$ROOT/build/sanity/ansible_collections/netpath/egress
home=$ROOT/build/sanity/home
log=$ROOT/build/sanity/log

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

# It runs each Python that it finds on PATH.
wanted=(3.9 3.10 3.11 3.12 3.13) versions=() path=
while read -r version interpreter; do
    versions+=("$version")
    path+=:${interpreter%/*}
done < <(scripts/pythons.sh "${wanted[@]}")
[ ${#versions[@]} = ${#wanted[@]} ] || say "of Python ${wanted[*]} not all are installed"
say "with Python ${versions[*]}; the first run makes an environment for each and takes two minutes"

skip=(--skip-test pslint)
say "without pslint, as the collection has no PowerShell"
if ! command -v shellcheck >/dev/null; then
    [ "$(id -u)" != 0 ] || "$ROOT/scripts/apt.sh" shellcheck || true
    if ! command -v shellcheck >/dev/null; then
        skip+=(--skip-test shellcheck)
        say "without shellcheck, as its program is not installed"
    fi
fi

# ansible-test fetches a script that installs pip from a host which some networks do not reach; ensurepip serves as well.
python scripts/lint/bootstrap_pip.py "$home/.ansible/test/cache"

cd "$copy"
HOME=$home PATH=$PATH$path ansible-test sanity --color no "${skip[@]}" "$@" 2>&1 | tee "$log" |
    grep --line-buffered -E '^(Running sanity|ERROR|FATAL)'
! grep -q 'All targets skipped' "$log" || die "ansible-test found nothing to check"
