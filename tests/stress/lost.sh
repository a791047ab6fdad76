# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Part of in-lane.sh: did the emulated CPUs of lane n lose a vCPU or the guest? QEMU's SVM has put a vCPU where the
# *host* was: its RIP was an address of the host's module kvm_amd, its RSP one of the host's kernel stacks. The test
# guest has no such addresses and cannot guess them (the host's are random), so nothing of ours did it. And a guest
# with four busy vCPUs ends in a triple fault now and then, whatever is done to it (tests/rig/lane-n.sh): with two
# sites changed a second, while it was stopped, in one of three runs of 200 s.
modules=/proc/modules

# host_module ADDRESS: the KVM module of this host whose text or data ADDRESS is in, if it is.
host_module() {
	while read -r module size _ _ _ base _; do
		case $module in kvm | kvm_amd) ;; *) continue ;; esac
		offset=$(($1 - base))
		[ $offset -lt 0 ] || [ $offset -ge "$size" ] || { echo "$module"; return; }
	done <$modules
	return 1
}

# vcpu_in_host FILE: whether what stress said of a vCPU that does not come to rest shows it in the host's KVM.
vcpu_in_host() {
	[ "$RIG_LANE" = n ] || return 1
	place=$(sed -n 's/^stress: vCPU [0-9]* at \(0xffffffff[0-9a-f]\{8\}\), .*/\1/p' "$1" | head -n 1)
	[ -n "$place" ] && in=$(host_module "$place") && echo "# the emulated CPUs lost a vCPU: it is at $place, in module $in of the host"
}

# guest_reset FILE: whether stress said that the guest stopped so.
guest_reset() {
	[ "$RIG_LANE" = n ] && grep -q '^stress: the guest stopped: vCPU [0-9]*: triple fault' "$1" &&
		echo "# the emulated CPUs lost the guest: $(grep -m 1 -o 'vCPU [0-9]*: triple fault.*' "$1")"
}
