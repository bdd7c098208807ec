#!/bin/busybox sh
# The first program of the virtual machine, in its initial memory disk: it
# puts the file system together, runs /out/run as the only program of the
# machine, and switches it off.
/bin/busybox --install -s /bin
PATH=/bin
for module in /modules/*; do insmod "$module"; done
mount -t proc proc /proc
share=trans=virtio,version=9p2000.L,msize=512000
mkdir -p /host /memory /new
mount -t 9p -o $share,cache=loose,ro host /host
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /new
mkdir -p /new/host /new/out /new/tmp /new/run /new/lib/modules
mount --move /host /new/host
mount -t 9p -o $share out /new/out
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
for dir in dev/shm tmp run; do mount -t tmpfs -o mode=1777 tmpfs /new/$dir; done
mount -t sysfs sysfs /new/sys
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
umount /proc
mount -t proc proc /new/proc
# The scripts of /out are for any shell; this one stays, to clean up after
# orphans, as the first process must.
exec switch_root /new /bin/sh -c '
mount --make-rshared /
/bin/sh /out/run >/out/output 2>&1
echo $? >/out/status
busybox sync
busybox poweroff -f'
