# shellcheck shell=bash
# Source this: it makes the checkout usable as a collection, from any folder.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export ROOT
# Debian keeps ip and nft in /usr/sbin, which is not on every user's PATH.
export PATH="$ROOT/.venv/bin:$PATH:/usr/sbin:/sbin"
# The collection is the checkout, or what COLLECTIONS names, such as the installed archive in build/installed.
collections=$(realpath -m "${COLLECTIONS:-$ROOT/build/collections}")
# A pyroute2 under test goes ahead of the one in .venv.
export PYTHONPATH="${PYROUTE2_VERSION:+$ROOT/build/pyroute2/$PYROUTE2_VERSION:}$collections"
# The checkout's own scripts see no other collection. Whoever else sources this keeps those of the variable, of ansible.cfg, or
# of Ansible's default, behind the checkout.
case $(realpath -m "${BASH_SOURCE[1]:-/}") in
"$ROOT"/*) ;;
*)
    config=${ANSIBLE_CONFIG:-ansible.cfg}
    others=${ANSIBLE_COLLECTIONS_PATH:-}
    [ -n "$others" ] || [ ! -f "$config" ] || others=$(sed -n 's/^collections_paths\{0,1\}[ \t]*=[ \t]*//p' "$config" |
        tr : '\n' | sed "s|^~|$HOME|; s|^[^/]|$(dirname "$(realpath "$config")")/&|" | paste -sd :)
    others=${others:-$HOME/.ansible/collections:/usr/share/ansible/collections}
    collections=$collections:${others#"$collections":}
    ;;
esac
export ANSIBLE_COLLECTIONS_PATH=$collections
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
