#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Kind pv_group: the spinlocks of a stock guest that booted with paravirt ones are made native and paravirt
# again while a thread on each vCPU fights for them without a pause (tests/guest/lock-hammer.c). In a machine of our
# own, as only KVM offers paravirt locks: on this machine's where that runs Linux, else on a host made for
# it (lane n), with one CPU: that is what paravirt locks are for, and with two its emulator ends such a guest by
# itself (rig/lane-n.sh). Then more times, the guest's own words for who waits read at each. VMPOKE_FULL=1: which slow
# path is taken, named targets, flipped, 10,000 switches with 8 vCPUs, the same without the wait, which has to go
# wrong (15 to 57 of them did until then: minutes), both kernels.
# pv-group-host.sh is the part that runs there.
# One CPU: an emulated host, which has no more than one.
. "$(dirname "$0")/../lib.sh"
full=${VMPOKE_FULL:-0}
switches=0 vcpus=4 many=10 careless=0 limit=560 kernels=6.1
[ "$full" = 0 ] || { switches=20 vcpus=8 many=${PV_SWITCHES:-10000} careless=400 limit=20000 kernels="6.1 6.12"; }

run_lane() { # LANE KERNEL
	local status
	"$root/tests/rig/run" "$1" --cpus 1 --memory 1536 --timeout $limit "$work/script" "$work/guest-kernel" \
		"$work/guest-initramfs" "$build/vmpoked" "$build/vmpoke-vm" "$build/vmpoke" "$guest_dir/pv-switch" \
		"$root/tests/e2e/host-lib.sh" >"$work/out" 2>"$work/rig.log"
	status=$?
	sed -E "s/^(ok|not ok|skip) /&$2, lane $1: /" "$work/out"
	cat "$work/rig.log"
	if [ $status = 77 ]; then
		skip "paravirt locks, $2, lane $1" "$(tail -n 1 "$work/rig.log")"
	elif grep -q '^not ok' "$work/out"; then
		failures=1
	elif [ $status != 0 ]; then
		not_ok "paravirt locks, $2, lane $1" "ended with status $status: $(tail -n 1 "$work/rig.log")"
	fi
}

try() { # KERNEL
	local image
	image=$(kernel_image "$1" 2>>"$work/fetch.log") || { skip "paravirt locks, $1" "the kernel cannot be had"; return; }
	cp "$image" "$work/guest-kernel"
	cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
	{ echo "switches=$switches vcpus=$vcpus many=$many careless=$careless full=$full"; cat "$root/tests/e2e/pv-group-host.sh"; } >"$work/script"
	if grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
		run_lane native "$1"
	else
		run_lane n "$1"
	fi
}

for kernel in ${VMPOKE_KERNELS:-$kernels}; do
	try "$kernel"
done
[ "$full" != 0 ] || skip "10,000 switches of paravirt locks, 8 vCPUs" "takes an hour on an emulated host: only with VMPOKE_FULL=1"
finish
