# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Lane E: this machine, through whatever /dev/kvm it has. Where that is KVM in
# software (no VMX or SVM) it proves the ioctls, vCPU threads, remaps and
# single-step; software interrupts and stock Linux do not run there.

lane_run() {
	[ -e /dev/kvm ] || missing "no /dev/kvm on this machine"
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || missing "/dev/kvm may not be opened by this user"
	run_here "$@"
}
