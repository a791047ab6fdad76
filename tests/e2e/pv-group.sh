#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Kind pv_group: the spinlocks of a stock guest that booted with paravirt ones are made native and
# paravirt again, over and over, while four vCPUs on two CPUs fight for a lock. In a machine of our
# own, as only KVM offers paravirt locks: on this machine's where that runs Linux, else on a host
# made for it (lane n). slow/pv-group.sh: 10,000 switches. pv-group-host.sh is the part that runs there.
# Alone: an emulated host.
. "$(dirname "$0")/../lib.sh"
switches=${PV_SWITCHES:-50} limit=${PV_LIMIT:-280}

run_lane() { # LANE
	local status
	"$root/tests/rig/run" "$1" --cpus 2 --memory 1536 --timeout $limit "$work/script" "$work/guest-kernel" \
		"$work/guest-initramfs" "$build/vmpoked" "$build/vmpoke-vm" "$build/vmpoke" "$root/tests/e2e/host-lib.sh" \
		>"$work/out" 2>"$work/rig.log"
	status=$?
	sed -E "s/^(ok|not ok|skip) /&lane $1: /" "$work/out"
	cat "$work/rig.log"
	if [ $status = 77 ]; then
		skip "paravirt locks, lane $1" "$(tail -n 1 "$work/rig.log")"
	elif [ $status != 0 ]; then
		not_ok "paravirt locks, lane $1" "ended with status $status: $(tail -n 1 "$work/rig.log")"
	fi
}

image=$(kernel_image 6.1 2>>"$work/fetch.log") || { skip "paravirt locks" "the kernel cannot be had"; finish; }
cp "$image" "$work/guest-kernel"
cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
{ echo "switches=$switches"; cat "$root/tests/e2e/pv-group-host.sh"; } >"$work/script"
if grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
	run_lane native
else
	run_lane n
fi
finish
