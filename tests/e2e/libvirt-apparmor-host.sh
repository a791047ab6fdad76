#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Domains confined by AppArmor on a host with KVM, made by libvirt-apparmor.sh.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/libvirt-lib.sh"
. "$root/tests/e2e/libvirt-cases.sh"
trap 'status=$?; libvirt_cleanup; (exit $status); lib_cleanup' EXIT
# shellcheck disable=SC2034
domain_type=kvm domain_cpu="<cpu mode='host-passthrough'/>" security_driver=apparmor
places=/run/vmpoke-monitors

profiles_loaded() {
	mount -t securityfs securityfs /sys/kernel/security && [ "$(cat /sys/module/apparmor/parameters/enabled)" = Y ] || why "no AppArmor" || return
	/sbin/apparmor_parser -r /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper /etc/apparmor.d/usr.sbin.libvirtd 2>"$work/parser.log" ||
		why "$(tail -n 1 "$work/parser.log")"
}

qemu_profile() { cat "/proc/$(cat "$work/a/libvirt/run/qemu/web1.pid")/attr/current"; }
denials() { dmesg | grep 'apparmor="DENIED"' | grep "libvirt-$uuid"; }

# The stub's socket is handed over, which AppArmor looks at.
confined() {
	expect_eq "QEMU's profile" "$(qemu_profile)" "libvirt-$uuid (enforce)" || return
	! grep 'cannot be patched' "$work/a/follower.log" || why "no stub"
}
nothing_denied() {
	! denials | grep -E 'vmpoke|unix' || why "$(denials | grep -E 'vmpoke|unix' | head -n 1)"
}

# libvirt does not know of a monitor of its own.
own_monitor_needs_a_rule() {
	v a destroy web1 || return
	mkdir -m 755 -p $places
	vp_ok setup-domain web1 --connect "$(uri a)" --apply --monitor $places/vmpoke-web1.qmp || return
	! v a start web1 --paused || why "it started without a rule" || return
	denials | grep -q "$places/vmpoke-web1.qmp" || why "started for another reason: $ERR" || return
	echo "$places/vmpoke-* rw," >/etc/apparmor.d/local/abstractions/libvirt-qemu
	v a start web1 --paused || return
	until_ok "$limit" state_is web1 paused || why "it is '$(field .state)'" || return
	expect_eq monitor "$(field .qmp)" $places/vmpoke-web1.qmp || return
	expect_eq "QEMU's profile" "$(qemu_profile)" "libvirt-$uuid (enforce)"
}

run_case "the profiles are loaded" profiles_loaded
[ $failures = 0 ] || finish
libvirt_run confined patched nothing_denied own_monitor_needs_a_rule
denials | sed 's/^/# /'
finish
