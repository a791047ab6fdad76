#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The devices of our own VMM with the drivers of a stock Debian kernel: inside a host
# with kvm-amd made for the occasion (tests/rig, lane n), or natively where this
# machine's KVM runs Linux. The part that runs there is virtio-host.sh.
# One CPU: an emulated host, which has no more than one.
. "$(dirname "$0")/../lib.sh"

# Our init, busybox and the modules of that very kernel.
pack_guest() { # KERNEL-DIR
	local tree=$work/guest module
	mkdir -p "$tree"/{bin,mod,dev,proc,sys}
	cp "$(command -v busybox)" "$tree/bin/busybox" && cp "$root/tests/e2e/virtio-guest.sh" "$tree/init" || return
	chmod 755 "$tree/init"
	for module in virtio_ring virtio virtio_mmio virtio_console virtio_blk; do
		find "$1/lib/modules" -name "$module.ko" -exec cp {} "$tree/mod/" \;
	done
	(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/virtio-initramfs"
}

lane=n
! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || lane=native
kernel=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip "virtio" "the kernel cannot be had"; finish; }
cp "$kernel"/boot/vmlinuz-* "$work/guest-kernel"
pack_guest "$kernel" || { not_ok "virtio" "the guest cannot be packed"; finish; }
"$root/tests/rig/run" $lane --cpus 1 --memory 1536 --timeout 500 "$root/tests/e2e/virtio-host.sh" \
	"$root/build/tests/kvm-virtio" "$work/guest-kernel" "$work/virtio-initramfs" "$root/tests/e2e/host-lib.sh" >"$work/out" 2>"$work/rig.log"
status=$?
cat "$work/out" "$work/rig.log"
if [ $status = 77 ]; then
	skip "virtio, lane $lane" "$(tail -n 1 "$work/rig.log")"
elif grep -q '^not ok' "$work/out"; then
	failures=1
elif [ $status != 0 ]; then
	not_ok "virtio, lane $lane" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
finish
