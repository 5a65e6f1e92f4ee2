# shellcheck shell=bash
# Source this: it makes the checkout usable as a collection, from any folder.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export ROOT
# Debian keeps ip and nft in /usr/sbin, which is not on every user's PATH.
export PATH="$ROOT/.venv/bin:$PATH:/usr/sbin:/sbin"
# The collection is the checkout, or what COLLECTIONS names, such as the installed archive in build/installed.
ANSIBLE_COLLECTIONS_PATH=$(realpath -m "${COLLECTIONS:-$ROOT/build/collections}")
export ANSIBLE_COLLECTIONS_PATH
# A pyroute2 under test goes ahead of the one in .venv.
export PYTHONPATH="${PYROUTE2_VERSION:+$ROOT/build/pyroute2/$PYROUTE2_VERSION:}$ANSIBLE_COLLECTIONS_PATH"
# Ansible refuses to start in a locale that is not UTF-8.
export LC_ALL=C.UTF-8
# Output that goes to a file or a log stays plain.
[ -t 1 ] || export NO_COLOR=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# The exit status of a part that could not run here, which is neither a pass nor a failure.
export SKIPPED=77

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
die() {
    say "$*" >&2
    exit 1
}
