#!/bin/sh
# Makes a root file system with more packages from one that is there, in memory, and copies it to a folder once it is
# whole. It runs in mount and PID namespaces of its own, so nothing of it outlives it, whatever ends it.
# Usage: variant.sh base folder packages    What the packages would start at boot is disabled.
set -eu
base=$1 folder=$2 packages=$3

mount --make-rprivate /
root=$folder/root
mkdir -p "$root"
mount -t tmpfs -o mode=0755 tmpfs "$root"
cp -ax "$base/." "$root/"

enabled() { chroot "$root" systemctl --root=/ list-unit-files --state=enabled --no-legend --plain | cut -d' ' -f1 | sort; }
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
enabled >"$folder/before"

echo "downloading"
cp /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" apt-get update
# shellcheck disable=SC2086 # a list of words
chroot "$root" apt-get install --yes --no-install-recommends --download-only $packages

# The rest needs no network, and what packages do when they are configured must not reach the machine's.
echo "installing"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
# shellcheck disable=SC2086
unshare --net --pid --fork --kill-child chroot "$root" apt-get install --yes --no-install-recommends --no-download $packages
umount "$root/proc"
rm -f "$root/usr/sbin/policy-rc.d"

echo "preparing for nodes"
enabled >"$folder/after"
for unit in $(comm -13 "$folder/before" "$folder/after"); do
    chroot "$root" systemctl --root=/ disable "$unit"
done
: >"$root/etc/machine-id"
rm -f "$root/etc/resolv.conf" "$root"/etc/ssh/ssh_host_*
rm -rf "$root/var/cache/apt"/*.bin "$root/var/cache/apt/archives"/*.deb "$root/var/lib/apt/lists"/*

echo "copying"
mkdir "$folder/whole"
cp -ax "$root/." "$folder/whole/"
sync -f "$folder/whole"
