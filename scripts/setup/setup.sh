#!/usr/bin/env bash
# Makes a fresh machine ready: system packages, .venv, and the link that puts the checkout on a collection path.
# Usage: setup.sh [demo|dev|booted]    "demo" installs only what running the collection needs, "booted" what the booted
# nodes of the lab need beyond "dev".
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
kind=${1:-dev}
case $kind in demo) requirements=run ;; dev | booted) requirements=dev ;; *) die "usage: setup.sh [demo|dev|booted]" ;; esac
say "checking programs, .venv and the collection path"

# program:package
programs=(ip:iproute2 nft:nftables ping:iputils-ping unshare:util-linux nsenter:util-linux flock:util-linux git:git)
# Tests ask these programs what the kernel holds, and use a login shell that is not POSIX.
[ "$kind" = demo ] || programs+=(conntrack:conntrack iptables:iptables tcsh:tcsh)
if [ "$kind" = booted ]; then
    programs+=(debootstrap:debootstrap systemd-nspawn:systemd-container ssh:openssh-client)
    # Without this file debootstrap does not check what it downloads.
    programs+=(/usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring)
fi
pythons=(python3.13 python3.12 python3.11 python3)

# The interpreter itself, not a wrapper of a version manager that may later point elsewhere.
find_python() {
    local name
    for name in "${pythons[@]}"; do
        "$name" -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' \
            2>/dev/null && return
    done
    return 1
}

is_there() { command -v "$1" >/dev/null || [[ $1 == /* && -e $1 ]]; }
missing=()
for pair in "${programs[@]}"; do
    is_there "${pair%:*}" || missing+=("${pair#*:}")
done
if [ ! -x .venv/bin/python ] && ! find_python >/dev/null; then
    missing+=(python3 python3-venv)
fi
[ ${#missing[@]} = 0 ] || scripts/setup/apt.sh "${missing[@]}"

mkdir -p build/collections/ansible_collections/netpath
exec 9>build/.setup.lock
flock 9
ln -sfn ../../../.. build/collections/ansible_collections/netpath/egress

# The folder counts too, because an environment does not survive a move.
stamp_of() { { cat "requirements/$1.txt" && pwd -P; } | sha256sum | cut -d' ' -f1; }
is_current() { [ -x .venv/bin/python ] && [ "$(cat ".venv/.stamp-$1" 2>/dev/null)" = "$(stamp_of "$1")" ]; }

# The development environment holds all that the demo needs.
if is_current dev || { [ "$requirements" = run ] && is_current run; }; then
    exit 0
fi
# Made afresh when the folder or the interpreter under it is gone; otherwise pip brings it up to date.
if [ "$(cat .venv/.root 2>/dev/null)" != "$ROOT" ] || ! .venv/bin/python -c '' 2>/dev/null; then
    python=$(find_python) || die "needs Python 3.11 or later with venv and ensurepip"
    say "making .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv
    echo "$ROOT" >.venv/.root
fi
say "installing requirements/$requirements.txt into .venv"
rm -f .venv/.stamp-*
.venv/bin/python -m pip install -qq --require-hashes --requirement "requirements/$requirements.txt"
stamp_of "$requirements" >".venv/.stamp-$requirements"
