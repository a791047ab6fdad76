#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What happens to a VM and to the daemon around a patch: reboot, pause, a busy
# monitor, a restarted daemon, removal, QEMU's death.
. "$(dirname "$0")/../lib.sh"
patch=$root/tests/demo.yaml

patch_state() { # VM: state of the only patch, "" when there is none
	vp --json status "$1" || return
	field '[.. | .patches? // empty | arrays | .[] | .state] | join(" ")'
}

setup() {
	vm_start a -s 2 || return
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp" || return
	vp_ok apply a "$patch"
}

added_twice() {
	vp_ok --json add a --qmp "$work/a/qmp" || return
	vp add b --qmp "$work/a/qmp"
	expect_eq "exit code of a second name for the same monitor" "$RC" 5 || return
	vp add 'bad name' --qmp "$work/a/qmp"
	expect_eq "exit code of a bad name" "$RC" 2
}

busy_monitor() {
	local status
	vm_start c -s 1 || return
	"$python" - "$work/c/qmp" <<-'PYTHON' &
		import socket, sys, time
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		time.sleep(60)
	PYTHON
	local holder=$!
	sleep 0.5
	vp add c --qmp "$work/c/qmp"
	status=$RC
	kill $holder 2>/dev/null
	wait $holder 2>/dev/null
	expect_eq "exit code" "$status" 1 || return
	grep -qE 'busy|another client' <<<"$ERR" || why "the sentence is: $ERR" || return
	vm_kill c
}

second_daemon() {
	timeout 120 "$build/vmpoked" --state-dir "$work/state" --runtime-dir "$work/run" --foreground \
		>/dev/null 2>"$work/stderr" </dev/null
	expect_eq "exit code of a second daemon" $? 1 || return
	[ -s "$work/stderr" ] || why "it says nothing" || return
	daemon_answers || why "the first daemon does not answer any more"
}

daemon_restarted() {
	daemon_stop || return
	expect_eq "VM while no daemon runs" "$(vm_status a)" running || return
	daemon_start || return
	until_ok 90 vp status a getpgrp-is-4242 || why "the patch is not known any more: $ERR" || return
	verify_clean a || return
	expect_eq "getpgrp()" "$(vm_pgrp a)" 4242
}

daemon_killed() {
	daemon_kill
	daemon_start || return
	until_ok 90 vp status a getpgrp-is-4242 || why "the patch is not known any more: $ERR" || return
	verify_clean a
}

not_removed_while_patched() {
	vp remove a
	expect_eq "exit code of remove" "$RC" 5 || why "$WHY ($ERR)"
}

paused_stays_paused() {
	vm_mon a '{"execute": "stop"}' >/dev/null
	vp_ok revert a getpgrp-is-4242 || return
	expect_eq "VM" "$(vm_status a)" paused || return
	vp_ok apply a "$patch" || return
	verify_clean a || return
	expect_eq "VM" "$(vm_status a)" paused || return
	vm_mon a '{"execute": "cont"}' >/dev/null
	expect_eq "getpgrp()" "$(vm_pgrp a)" 4242
}

lost_by_reboot() {
	local mark
	mark=$(vm_mark a)
	echo reboot >&"${vm_fd[a]}"
	vm_wait a 240 '^UP ' "$mark" || return
	expect_eq "getpgrp() after the reboot" "$(vm_pgrp a)" own || return
	until_ok 90 patch_is_lost || why "the patch is '$(patch_state a)' after a reboot" || return
	verify_clean a
}
patch_is_lost() { [[ $(patch_state a) != *applied* ]]; }

applied_after_reboot() {
	vp_ok --json apply a "$patch" || return
	expect_eq changed "$(field .changed)" true || return
	expect_eq "getpgrp()" "$(vm_pgrp a)" 4242 || return
	vp_ok revert a getpgrp-is-4242
}

user_gdb_not_stolen() {
	vm_start g -s 1 -- -gdb "unix:$work/g.gdb,server=on,wait=off" || return
	vp_ok add g --qmp "$work/g/qmp" || return
	vp apply g "$patch"
	expect_eq "exit code" "$RC" 5 || why "$WHY ($ERR)" || return
	grep -q -- '--gdb' <<<"$ERR" || why "the sentence is: $ERR" || return
	vp_ok remove g || return
	vp_ok add g --qmp "$work/g/qmp" --gdb "$work/g.gdb" || return
	vp_ok apply g "$patch" || return
	expect_eq "getpgrp()" "$(vm_pgrp g)" 4242 || return
	vp_ok revert g getpgrp-is-4242 || return
	vp_ok remove g || return
	vm_kill g
}

removed() {
	vp_ok remove a || return
	vp status a
	expect_eq "exit code of status" "$RC" 4 || return
	expect_eq VM "$(vm_status a)" running || return
	vp_ok add a --qmp "$work/a/qmp"
}

vm_state_now() {
	vp --json info a >/dev/null
	field .state
}
state_is() { [ "$(vm_state_now)" = "$1" ]; }

qemu_dies() {
	local start
	vp_ok apply a "$patch" || return
	vm_kill a
	until_ok 90 state_is unreachable || why "the VM is '$(vm_state_now)' after QEMU's death" || return
	start=$SECONDS
	vp apply a "$patch"
	expect_eq "exit code of apply" "$RC" 1 || why "$WHY ($ERR)" || return
	[ $((SECONDS - start)) -lt 15 ] || why "apply took $((SECONDS - start)) s"
}

qemu_starts_again() {
	rm -rf "$work/a"
	vm_start a -s 2 || return
	until_ok 90 state_is running || why "the VM is '$(vm_state_now)'" || return
	expect_eq "getpgrp()" "$(vm_pgrp a)" own || return
	patch_is_lost || why "the patch is '$(patch_state a)' in a new QEMU" || return
	vp_ok apply a "$patch" || return
	expect_eq "getpgrp()" "$(vm_pgrp a)" 4242
}

powered_off() {
	echo poweroff >&"${vm_fd[a]}"
	until_ok 90 vm_ended || why "QEMU did not end" || return
	until_ok 90 state_is unreachable || why "the VM is '$(vm_state_now)'" || return
	# Whether the patch went with the guest's memory cannot be asked any more.
	vp remove a
	expect_eq "exit code of remove" "$RC" 5 || return
	vp_ok remove a --keep-patches
}
vm_ended() { ! vm_alive a; }

run_case "guest registered and patched" setup
[ $failures = 0 ] || finish
for name in added_twice busy_monitor second_daemon daemon_restarted daemon_killed not_removed_while_patched \
	paused_stays_paused lost_by_reboot applied_after_reboot user_gdb_not_stolen removed qemu_dies qemu_starts_again \
	powered_off; do
	run_case "${name//_/ }" "$name"
done
run_case "daemon stops" daemon_stop
finish
