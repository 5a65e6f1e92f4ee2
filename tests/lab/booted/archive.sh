#!/bin/sh
# Downloads packages of the release of a root file system, which itself stays as it is, with an index of them for apt.
# It runs in a mount namespace of its own, so nothing of it outlives it, whatever ends it.
# Usage: archive.sh base folder packages
set -eu
base=$1 folder=$2 packages=$3

mount --make-rprivate /
mkdir -p "$folder/root"
mount -t tmpfs -o mode=0755 tmpfs "$folder/root"
mkdir "$folder/root/upper" "$folder/root/work" "$folder/root/merged"
root=$folder/root/merged
mount -t overlay -o "lowerdir=$base,upperdir=$folder/root/upper,workdir=$folder/root/work" overlay "$root"

echo "downloading"
cp /etc/resolv.conf "$root/etc/resolv.conf"
export LC_ALL=C.UTF-8
chroot "$root" apt-get update
mkdir "$root/archive"
# shellcheck disable=SC2016,SC2086 # expanded in there, and a list of words
chroot "$root" sh -ec 'cd /archive; apt-get -o APT::Sandbox::User=root download "$@"' sh $packages

echo "indexing"
# shellcheck disable=SC2016
chroot "$root" sh -ec '
    cd /archive
    for file in *.deb; do
        dpkg-deb --field "$file"
        echo "Filename: ./$file"
        echo "Size: $(stat -c %s "$file")"
        echo "SHA256: $(sha256sum "$file" | cut -d" " -f1)"
        echo
    done >Packages
'
mkdir "$folder/whole"
cp -a "$root/archive/." "$folder/whole/"
