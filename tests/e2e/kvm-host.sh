# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see kvm.sh): boots a stock guest under QEMU/KVM,
# patches it three times under load and takes every patch out again. For busybox
# sh; everything it needs is in $RIG_FILES.
. "$RIG_FILES/host-lib.sh"

booted() { grep -q '^pgrp' "$dir/console"; }
# The guest prints "pgrp VALUE COUNT" every second, a line for each value it saw.
last_is() { grep '^pgrp' "$dir/console" | tail -n 1 | grep -q "^pgrp $1 "; }
shows() { within 10 last_is "$1" || { tail -n 3 "$dir/console"; return 1; }; }

# patched VALUE / unpatched VALUE: changed, and the running guest shows it. The emulated CPUs of
# lane n can miss a store (see there) until it is made again; a real CPU has one try.
patched() {
	for try in $tries; do
		vp apply a "$RIG_FILES/demo.yaml" && shows "$1" && return
		echo "try $try missed" >>"$dir/missed"
		vp revert a getpgrp-is-4242 || return
	done
	return 1
}
unpatched() {
	for try in $tries; do
		vp revert a getpgrp-is-4242 && shows "$1" && return
		echo "try $try missed" >>"$dir/missed"
		vp apply a "$RIG_FILES/demo.yaml" || return
	done
	return 1
}
tries=1
[ "$RIG_LANE" != n ] || tries="1 2 3"
unchanged_pause_state() { ! vp --json info a | grep -q '"state": "paused"'; }

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
qemu_start() {
	qemu -L "$RIG_FILES" -accel kvm -cpu host -smp 2 -m 256 -nodefaults -display none -vga none -nic none \
		-serial "file:$console" -monitor none -qmp "unix:$dir/qmp,server=on,wait=off" -no-reboot \
		-kernel "$RIG_FILES/guest-kernel" -initrd "$RIG_FILES/guest-initramfs" \
		-append "console=ttyS0 quiet panic=-1 vmtest=load" >"$dir/qemu.log" 2>&1 &
	qemu_pid=$!
	within 90 up && booted || { tail -n 3 "$console" "$dir/qemu.log"; return 2; }
}
up() { booted || ! kill -0 $qemu_pid 2>/dev/null; }
qemu_gone() {
	kill $qemu_pid 2>/dev/null
	wait $qemu_pid
	rm -f "$console" "$dir/qmp"
}
daemon_start
check_boot "a stock guest boots under QEMU/KVM" boots qemu_gone qemu_start
own=$(sed -n 's/^pgrp \([0-9]*\) .*/\1/p' "$dir/console" | head -n 1)
check "added" within 90 vp add a --qmp "$dir/qmp"
check "probe says kvm" sh -c "vmpoke -c $sock --json probe a | grep -q '\"accel\": \"kvm\"'"
for round in 1 2 3; do
	check "applied, and the running guest shows it $round" patched 4242
	check "verify $round" vp verify a
	check "reverted, and the running guest shows it $round" unpatched "$own"
done
check "the VM runs as it was found" unchanged_pause_state
check "no illegal value and no kernel complaint" sh -c "! grep -E 'ILLEGAL|KMSG' $dir/console"
vp --json history a
lane_figures
kill $daemon_pid $qemu_pid
wait
exit $failed
