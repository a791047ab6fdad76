#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libvirt's cases on a host with KVM, made by libvirt-kvm.sh: a domain of type kvm, its guest a stock kernel.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/libvirt-lib.sh"
. "$root/tests/e2e/libvirt-cases.sh"
trap 'status=$?; libvirt_cleanup; (exit $status); lib_cleanup' EXIT
# shellcheck disable=SC2034
domain_type=kvm domain_cpu="<cpu mode='host-passthrough'/>"

# The kernel of this host runs it, and QEMU does not interpret.
in_kvm() {
	v a qemu-monitor-command web1 --hmp info kvm || return
	expect_eq "QEMU's word" "$(tr -d '\r' <<<"$OUT" | head -n 1)" "kvm support: enabled" || return
	vp_ok --json probe web1 || return
	echo "# $(jq -c . <<<"$OUT" | head -c 1500)"
}

[ -c /dev/kvm ] || { not_ok "/dev/kvm" "this host has none"; finish; }
libvirt_run in_kvm patched taint_said_once hook_said_it libvirtd_restarted in_the_metadata saved_and_restored gone_by_reset \
	back_by_itself moves
v a list --all
echo "# at the end: $OUT"
finish
