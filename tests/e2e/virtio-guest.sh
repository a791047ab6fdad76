#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# First process of the guest in virtio.sh: loads the stock drivers, says what it
# finds as "GUEST ..." lines on the console, echoes what comes through the agent's
# port. The host's side is tests/tools/kvm-virtio.c.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/console 2>&1 </dev/null
if grep -q vmpoke.brief /proc/cmdline; then
	echo "GUEST up"
	reboot -f
fi
for module in virtio_ring virtio virtio_mmio virtio_console virtio_blk; do
	insmod /mod/$module.ko || echo "GUEST no $module"
done
echo "GUEST irqs $(grep -c 'virtio[0-9]' /proc/interrupts)"

for name in /sys/class/virtio-ports/*/name; do
	[ "$(cat "$name")" != org.vmpoke.agent.0 ] || port=/dev/$(basename "$(dirname "$name")")
done
echo "GUEST port ${port:-none}"

echo "GUEST serial $(cat /sys/block/vda/serial) $(cat /sys/block/vdb/serial)"
echo "GUEST sizes $(cat /sys/block/vda/size) $(cat /sys/block/vdb/size)"
echo "GUEST ro $(cat /sys/block/vda/ro) $(cat /sys/block/vdb/ro)"
echo "GUEST md5 $(md5sum </dev/vdb)"
dd if=/dev/zero of=/dev/vdb count=1 conv=fsync 2>/dev/null && echo "GUEST wrote to a read-only disk"
dd if=/dev/vda bs=1M count=2 2>/dev/null | dd of=/dev/vda bs=1M seek=2 conv=fsync 2>/dev/null
echo "GUEST copied $?"

# Only one open at a time is allowed: both directions through one descriptor.
for round in 1 2; do
	exec 3<>"$port"
	echo "GUEST open $round"
	head -c 524288 <&3 >&3
	[ $round = 1 ] || echo "GUEST until closed $(cat <&3 | wc -c)"
	exec 3>&-
done
# A guest that does not read.
exec 3<>"$port"
echo "GUEST open 3"
sleep 4
echo "GUEST end"
poweroff -f
