#!/bin/sh
# The first process of a guest: it makes a root of the machine's, which stays as it is, and runs the job on it.
b() { /bin/busybox "$@"; }
b mount -t devtmpfs devtmpfs /dev
b mount -t proc proc /proc
b mount -t sysfs sysfs /sys
for module in /modules/*; do b insmod "$module"; done
nine() { b mount -t 9p -o "ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose" "$1" "$2"; }
nine machine /machine
nine kernel /kernel
nine job /job
b mount -t tmpfs -o mode=755 tmpfs /layers
b mkdir -p /layers/root /layers/root-work /layers/modules /layers/modules-work
b mount -t overlay -o lowerdir=/machine,upperdir=/layers/root,workdir=/layers/root-work overlay /new
b mkdir -p /new/lib/modules
b mount -t overlay -o lowerdir=/kernel,upperdir=/layers/modules,workdir=/layers/modules-work overlay /new/lib/modules
for module in $(b cat /job/hidden); do b find /new/lib/modules -name "$module.ko" -exec busybox rm {} +; done
for folder in dev proc sys; do b mount --move /$folder /new/$folder; done
# What the machine has there is its own.
for folder in run tmp dev/shm; do
    b mkdir -p /new/$folder
    b mount -t tmpfs tmpfs /new/$folder
done
b mkdir -p /new/dev/pts /new/run/netns /new/run/lock /new/run/job
b mount -t devpts devpts /new/dev/pts
b mount --move /job /new/run/job
b ln -sf /proc/self/fd /new/dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do b ln -sf "/proc/self/fd/${stream%:*}" "/new/dev/${stream#*:}"; done
b ip link set lo up
exec /bin/busybox switch_root /new /bin/sh /run/job/start
