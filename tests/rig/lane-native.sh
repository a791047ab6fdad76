# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Lane native: this machine, when its CPU has VMX or SVM. Proves everything, at
# full speed.

lane_run() {
	grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || missing "no vmx or svm in /proc/cpuinfo"
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || missing "no /dev/kvm that this user may open"
	run_here "$@"
}
