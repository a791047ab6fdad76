#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Install rules: what is to be in a guest is in it whenever it is up: before it has booted, after a reset, after vmpoked
# died. Somebody who takes a patch out is not fought, a refusal is not hammered. VMPOKE_FULL=1: two more boots, and rest.
. "$(dirname "$0")/../lib.sh"

write_patch() { # NAME SITE
	printf 'vmpoke: 1\nname: %s\nsites:\n  - %s\n' "$1" "$2" >"$work/$1.yaml"
}

write_patches() {
	write_patch pgrp-4242 '{ at: __x64_sys_getpgrp, kind: return, value: 4242 }'
	write_patch pgrp-7 '{ at: __x64_sys_getpgrp, kind: return, value: 7 }'
	write_patch schedstats '{ at: sched_schedstats, kind: static_key, enable: true }'
	write_patch other '{ at: __x64_sys_getuid, kind: return, value: 1 }'
}

# The VM is there, its kernel is not: a rule waits for it.
setup() {
	write_patches
	daemon_start || return
	vp_ok install 'web?' "$work/pgrp-4242.yaml" || return
	vm_start web1 -s 2 -i || return
	until_ok 90 test -S "$work/web1/qmp" || why "QEMU has no monitor: $(tail -n 1 "$work/web1/qemu.log")" || return
	vp_ok add web1 --qmp "$work/web1/qmp" || return
	vp_ok --json rules || return
	expect_eq "VMs of the rule" "$(field '.[0].vms[0].vm')" web1
}

state_of() { # PATCH
	vp --json status web1
	field "[.desired[] | select(.patch == \"$1\") | .state] | first"
}
state_is() { [ "$(state_of "$1")" = "$2" ]; }
expect_state() { # PATCH STATE SECONDS
	until_ok "$3" state_is "$1" "$2" || why "$1 is '$(state_of "$1")', expected '$2': $OUT"
}

applied_when_up() {
	vm_wait web1 120 '^UP ' || return
	vp_ok wait web1 --for applied:pgrp-4242 --timeout 120 || return
	vp_ok wait web1 --timeout 60 || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242 || return
	vp_ok --json status web1 || return
	expect_eq "as desired" "$(field .as_desired)" true || return
	verify_clean web1
}

reboots() { # COMMAND
	local mark
	mark=$(vm_mark web1)
	"$@" || return
	vm_wait web1 120 '^UP ' "$mark"
}
ask_reboot() { echo reboot >&"${vm_fd[web1]}"; }
reset_it() { vm_mon web1 '{"execute": "system_reset"}' >/dev/null; }

back_after() { # COMMAND
	reboots "$1" || return
	vp_ok wait web1 --for applied:pgrp-4242 --timeout 120 || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242
}

daemon_dies_between() {
	daemon_kill
	reboots reset_it || return
	expect_eq "getpgrp() without vmpoked" "$(vm_pgrp web1)" own || return
	daemon_start || return
	vp_ok wait web1 --for applied:pgrp-4242 --timeout 120 || return
	vp_ok wait web1 --timeout 60 || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242
}

reverted_by_hand() {
	vp_ok revert web1 pgrp-4242 || return
	expect_state pgrp-4242 reverted 90 || return
	vp status web1
	expect_eq "exit code of status" "$RC" 3 || return
	grep -q 'somebody took it out' <<<"$OUT" || why "status does not say so: $OUT" || return
	vp_ok status --why web1 >/dev/null || [ "$RC" = 3 ] || return
	# A new daemon knows it as well; once it has looked at the kernel nothing else will bring the patch back.
	daemon_kill
	daemon_start || return
	vp_ok wait web1 --for running --timeout 60 || return
	vp_ok wait web1 --timeout 60 || return
	expect_state pgrp-4242 reverted 90 || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" own || return
	# Until the next boot.
	back_after reset_it
}

known_paused() { vp --json info web1 && [ "$(field .state)" = paused ]; }

in_order_of_priority() {
	local order
	vp_ok uninstall 'web?' pgrp-4242 || return
	vp_ok revert web1 pgrp-4242 || return
	vm_mon web1 '{"execute": "stop"}' >/dev/null
	until_ok 90 known_paused || why "vmpoked does not see that it is paused: $OUT" || return
	vp_ok install web1 "$work/other.yaml" --priority -5 || return
	vp_ok install 'web*' "$work/schedstats.yaml" --priority 10 || return
	vp_ok install web1 "$work/pgrp-7.yaml" || return
	vp_ok install web1 "$work/pgrp-4242.yaml" --priority -1 || return
	vp_ok --json status web1 || [ "$RC" = 3 ] || return
	expect_eq "states of a paused VM" "$(field '[.desired[].state] | unique | join(" ")')" waiting || return
	vm_mon web1 '{"execute": "cont"}' >/dev/null
	vp_ok wait web1 --timeout 120 || return
	vp_ok --json history web1 --limit 3 || return
	order=$(field '[.entries[].patch] | join(" ")')
	expect_eq "order of application" "$order" "schedstats pgrp-7 other" || return
	expect_state pgrp-4242 refused 90 || return
	vp --json status web1
	expect_eq "exit code of status" "$RC" 3 || return
	expect_eq "rule of the refusal" "$(field '.desired[] | select(.patch == "pgrp-4242") | .refusal')" overlap || return
	expect_eq "tries of what was refused" "$(field '.desired[] | select(.patch == "pgrp-4242") | .tries')" 1
}

other_kernel() {
	vp_ok uninstall web1 pgrp-4242 || return
	vp_ok install web1 "$work/pgrp-4242.yaml" --build-id 'ffff*' || return
	vp_ok wait web1 --timeout 60 || return
	expect_state pgrp-4242 other-kernel 90 || return
	vp_ok status web1 || why "a rule for another kernel is not met: $ERR"
}

uninstalled() {
	local number
	vp_ok --json rules || return
	number=$(field '.[] | select(.patch == "other") | .rule')
	vp_ok uninstall "$number" || return
	vp uninstall "$number"
	expect_eq "exit code of what is not installed" "$RC" 4 || return
	vp_ok --json uninstall web1 other || return
	expect_eq "changed" "$(field .changed)" false || return
	vp_ok status web1 other || return
	vp_ok uninstall 'web*' schedstats
}

new_process() {
	vm_kill web1
	rm -rf "$work/web1"
	vm_start web1 -s 2 || return
	vp_ok wait web1 --for applied:pgrp-7 --timeout 120 || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 7
}

at_rest() {
	vp_ok wait web1 --timeout 60 || return
	local before after
	before=$(awk '{ print $14 + $15 }' "/proc/$daemon_pid/stat")
	sleep 5
	after=$(awk '{ print $14 + $15 }' "/proc/$daemon_pid/stat")
	[ $((after - before)) -le 1 ] || why "vmpoked used $((after - before)) ticks of CPU in 5 s of rest"
}

run_case "a rule waits for a guest that is not up" setup
[ $failures = 0 ] || finish
run_case "applied when the guest is up" applied_when_up
[ $failures = 0 ] || finish
[ -z "${VMPOKE_FULL-}" ] || run_case "back after the guest reboots" back_after ask_reboot
run_case "back after a reset from outside" back_after reset_it
run_case "vmpoked dies, the guest is reset, vmpoked comes back" daemon_dies_between
run_case "taken out by hand it stays out until the next boot" reverted_by_hand
run_case "in order of priority, a refusal is kept" in_order_of_priority
run_case "a rule for another build-id" other_kernel
run_case "uninstalled: what is applied stays" uninstalled
[ -z "${VMPOKE_FULL-}" ] || run_case "another QEMU under the same name" new_process
# A figure, not a race: the time is that of vmpoked's own work.
[ -z "${VMPOKE_FULL-}" ] || run_case "nothing to do costs nothing" at_rest
run_case "daemon stops" daemon_stop
finish
