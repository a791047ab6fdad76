#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every mode on a stock Debian guest in a machine of our own, through daemon and command
# line, with daemon and worker killed in the middle. On this machine's KVM where that runs
# Linux; else on a host made for it: kvm-amd in emulated SVM (tests/rig, lane n), where traps
# are debug registers. VMPOKE_FULL=1: every kill point, and lane v (Bochs) as well, where
# traps are breakpoint instructions. modes-host.sh is the part that runs there.
# Alone: the emulated CPUs of lane n are slow and lose stores as it is (tests/rig/lane-n.sh).
. "$(dirname "$0")/../lib.sh"
full=${VMPOKE_FULL:-0}

run_lane() { # LANE TIMEOUT
	local status
	"$root/tests/rig/run" "$1" --memory 1536 --timeout "$2" "$work/script" "$work/guest-kernel" "$work/guest-initramfs" \
		"$build/vmpoked" "$build/vmpoke-vm" "$build/vmpoke" "$root/tests/e2e/host-lib.sh" >"$work/out" 2>"$work/rig.log"
	status=$?
	sed -E "s/^(ok|not ok|skip) /&lane $1: /" "$work/out"
	cat "$work/rig.log"
	if [ $status = 77 ]; then
		skip "modes, lane $1" "$(tail -n 1 "$work/rig.log")"
	elif grep -q '^not ok' "$work/out"; then
		failures=1
	elif [ $status != 0 ]; then
		not_ok "modes, lane $1" "ended with status $status: $(tail -n 1 "$work/rig.log")"
	fi
}

image=$(kernel_image 6.1 2>>"$work/fetch.log") || { skip "modes" "the kernel cannot be had"; finish; }
cp "$image" "$work/guest-kernel"
cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
{ echo "FULL=$full"; cat "$root/tests/e2e/modes-host.sh"; } >"$work/script"
if grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
	run_lane native 1200
else
	run_lane n $((full ? 3000 : 450))
	if [ "$full" = 1 ]; then
		run_lane v 5000
	else
		skip "modes, lane v" "breakpoint instructions under Bochs take long: only with VMPOKE_FULL=1"
	fi
fi
finish
