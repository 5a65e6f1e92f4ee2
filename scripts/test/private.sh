#!/usr/bin/env bash
# Runs a command in network and mount namespaces of its own, so that not even a buggy test running as root can touch
# the machine's interfaces, rules, named namespaces or settings.
# Usage: private.sh command...    Exits with 77 when this user may not make such namespaces.
set -euo pipefail
. "$(dirname "$0")/../env.sh"

if [ "${1:-}" = --inside ]; then
    shift
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run
    mkdir /run/netns /run/lock
    ip link set lo up
    # /sys shows the interfaces of the namespace that it was mounted in; some containers forbid a new one.
    mount -t sysfs sysfs /sys 2>/dev/null || say "note: /sys still shows the machine's own interfaces"
    # A user without rights cannot write there anyway.
    if [ -w /etc ]; then
        mkdir /run/layers
        for folder in /etc /var/lib; do
            mkdir -p "/run/layers$folder/upper" "/run/layers$folder/work"
            mount -t overlay overlay "$folder" \
                -o "lowerdir=$folder,upperdir=/run/layers$folder/upper,workdir=/run/layers$folder/work" 2>/dev/null ||
                say "note: $folder is the machine's own, this kernel has no overlay here"
        done
    fi
    exec "$@"
fi

may_enter() { reason=$("$@" ip link set lo up 2>&1); }
own=(unshare --net --mount)
mapped=(unshare --user --map-root-user --net --mount)
if [ "$(id -u)" = 0 ] && may_enter "${own[@]}"; then
    enter=("${own[@]}")
elif may_enter "${mapped[@]}"; then
    enter=("${mapped[@]}")
else
    echo "SKIPPED: no network namespaces for user $(id -un) here (${reason:-unshare failed}); sudo may help"
    exit "$SKIPPED"
fi
exec "${enter[@]}" "$0" --inside "$@"
