# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Part of in-lane.sh: did the emulated CPU of lane n lose a vCPU? QEMU's SVM has put one where the *host* was:
# the guest's RIP was an address of the host's module kvm_amd, its RSP one of the host's kernel stacks. The test
# guest has no such addresses and cannot guess them (the host's are random), so nothing of ours did it.
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
