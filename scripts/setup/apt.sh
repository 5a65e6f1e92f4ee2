#!/usr/bin/env bash
# Installs Debian packages, one call at a time: apt gives up where another one is at work. Usage: apt.sh package...
set -euo pipefail
. "$(dirname "$0")/../env.sh"
command -v apt-get >/dev/null || die "cannot install $* here: apt-get is missing; install them and run this again"
run=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "cannot install $* without root or sudo; install them and run this again"
    run=(sudo)
    [ -t 0 ] || run+=(-n)
fi
mkdir -p "$ROOT/build"
exec 9>"$ROOT/build/.apt.lock"
flock 9
say "installing $*"
run+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
install() { "${run[@]}" install -y --no-install-recommends "$@" >/dev/null; }
# Package lists may be old, or not there.
install "$@" 2>/dev/null && exit
"${run[@]}" update || say "the package lists could not be refreshed; going on with those that are here"
install "$@" || die "apt could not install $*"
