#!/bin/sh
# Makes the root file system of one Debian release in memory and copies it to a folder once it is whole.
# It runs in mount and PID namespaces of its own, so nothing of it outlives it, whatever ends it.
# Usage: rootfs.sh release folder packages mirror    An empty mirror stands for debootstrap's default.
set -eu
release=$1 folder=$2 packages=$3 mirror=$4

mount --make-rprivate /
root=$folder/root
mkdir -p "$root"
# In memory, because dpkg waits for the disk after each of its many files.
mount -t tmpfs -o mode=0755 tmpfs "$root"

echo "downloading and unpacking"
debootstrap --foreign --variant=minbase --include="$packages" "$release" "$root" ${mirror:+"$mirror"}

# The rest needs no network, and what packages do when they are configured must not reach the machine's.
echo "configuring"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
unshare --net --pid --fork --kill-child chroot "$root" /debootstrap/debootstrap --second-stage
rm -f "$root/usr/sbin/policy-rc.d" # some versions of debootstrap do the same

echo "preparing for nodes"
chroot "$root" useradd --create-home --shell /bin/bash ansible
echo LANG=C.UTF-8 >"$root/etc/default/locale"
echo 'ansible ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/ansible"
chmod 440 "$root/etc/sudoers.d/ansible"
chroot "$root" systemctl enable systemd-networkd.service
# Without a network of updates these would only fail, or take processor time from the tests.
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer console-getty.service
# Nobody is asked for a password, and each takes one of root's inotify instances, of which a machine has few.
chroot "$root" systemctl mask systemd-ask-password-console.path systemd-ask-password-wall.path
mkdir -p "$root/etc/systemd/journald.conf.d" "$root/var/log/journal"
printf '[Journal]\nStorage=persistent\n' >"$root/etc/systemd/journald.conf.d/persistent.conf"
# Every node gets its own.
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
rm -rf "$root/var/cache/apt"/*.bin "$root/var/cache/apt/archives"/*.deb "$root/var/lib/apt/lists"/*
rm -f "$root/var/log/bootstrap.log"

echo "copying"
mkdir "$folder/whole"
cp -ax "$root/." "$folder/whole/"
sync -f "$folder/whole"
