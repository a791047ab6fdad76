#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A patched guest moves to another QEMU (live migration) and another name: what is known of its patches comes with it.
# And one patch in place of another.
. "$(dirname "$0")/../lib.sh"
patch=$root/tests/demo.yaml

setup() {
	cat >"$work/seven.yaml" <<-'EOF'
		vmpoke: 1
		name: getpgrp-is-7
		sites:
		  - { at: __x64_sys_getpgrp, kind: return, value: 7 }
	EOF
	cat >"$work/key.yaml" <<-'EOF'
		vmpoke: 1
		name: schedstats
		sites:
		  - { at: sched_schedstats, kind: static_key, enable: true }
	EOF
	cat >"$work/wrong.yaml" <<-'EOF'
		vmpoke: 1
		name: wrong
		sites:
		  - { at: __x64_sys_getpgrp+0x1, kind: nop }
	EOF
	vm_start a -s 2 || return
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp" || return
	vp_ok apply a "$patch" || return
	vp_ok apply a "$work/key.yaml"
}

migrated() { [ "$(vm_mon a '{"execute": "query-migrate"}' | jq -r .return.status)" = completed ]; }
runs() { [ "$(vm_status b)" = running ]; }

moved() {
	vm_start b -s 2 -i -- -incoming "unix:$work/migrate" || return
	until_ok 90 test -S "$work/migrate" || why "the second QEMU does not listen: $(tail -n 1 "$work/b/qemu.log")" || return
	vp_ok export a || return
	printf '%s\n' "$OUT" >"$work/records"
	expect_eq "records" "$(jq '.records | length' "$work/records")" 2 || return
	vm_mon a "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"unix:$work/migrate\"}}" >/dev/null
	until_ok 120 migrated || why "the migration did not complete" || return
	until_ok 90 runs || why "the guest does not run in the second QEMU" || return
	vp_ok remove a --keep-patches || return
	vm_kill a
	expect_eq "getpgrp() after the move" "$(vm_pgrp b)" 4242 || return
	vp_ok add b --qmp "$work/b/qmp" || return
	vp_ok --json status b || return
	expect_eq "patches before the adoption" "$(field '.patches | length')" 0
}

forged_refused() {
	jq '.records |= .[0:1] | .records[0].sites[0].address = "0xffffffff00000000"' "$work/records" >"$work/forged"
	vp adopt b "$work/forged"
	[ "$RC" != 0 ] || why "a forged address was believed" || return
	jq '.records[].build_id = "00"' "$work/records" >"$work/forged"
	vp --json adopt b "$work/forged"
	expect_eq "exit code" "$RC" 5 || return
	expect_eq "state" "$(field '.records[0].state')" refused || return
	expect_eq "rule" "$(field '.records[0].rule')" build-id || return
	echo '{"records": [{"version": 1}]}' >"$work/forged"
	vp adopt b "$work/forged"
	expect_eq "exit code of what is no record" "$RC" 2
}

adopted() {
	vp_ok --json adopt b "$work/records" || return
	expect_eq "states" "$(field '[.records[] | .state] | unique | join(" ")')" "$1"
}

there_as_if_applied() {
	verify_clean b || return
	expect_eq "patches" "$(field .patches)" 2 || return
	daemon_kill
	daemon_start || return
	until_ok 90 vp status b getpgrp-is-4242 || why "not known any more: $ERR" || return
	vp_ok revert b schedstats || return
	vp_ok revert b getpgrp-is-4242 || return
	expect_eq "getpgrp()" "$(vm_pgrp b)" own || return
	vp --json adopt b "$work/records"
	expect_eq "exit code of what was reverted" "$RC" 3 || return
	expect_eq "state" "$(field '.records[0].state')" absent
}

half_needs_attention() {
	local address
	address=$(jq -r '.records[0].sites[0].address' "$work/records")
	# Bytes that are neither: only the record is changed, the guest is as it is.
	jq '.records |= .[0:1] | .records[0].sites[0] |= (.old = ("90" * (.old | length / 2)))' "$work/records" >"$work/forged"
	vp --json adopt b "$work/forged"
	expect_eq "exit code ($address)" "$RC" 9 || return
	expect_eq "state" "$(field '.records[0].state')" attention
}

replaced() {
	vp_ok apply b "$patch" || return
	vp_ok --json replace b getpgrp-is-4242 "$work/seven.yaml" || return
	expect_eq "replaced" "$(field .replaced)" getpgrp-is-4242 || return
	expect_eq "getpgrp()" "$(vm_pgrp b)" 7 || return
	verify_clean b || return
	vp --json replace b getpgrp-is-7 "$work/wrong.yaml"
	expect_eq "exit code of a replacement that cannot be" "$RC" 5 || return
	expect_eq "getpgrp()" "$(vm_pgrp b)" 7 || return
	vp_ok revert b getpgrp-is-7 || return
	vm_healthy b
}

one_is_in() { # which
	vp --json status b
	[ "$(field '[.patches[] | select(.state == "applied") | .name] | join(" ")')" = "$1" ]
}

# dies POINT:N PATCH VALUE: the worker is killed there; which of the two is in afterwards, and what getpgrp() then says.
dies() {
	echo "$1" >"$work/fault"
	vp replace b getpgrp-is-4242 "$work/seven.yaml"
	[ "$RC" != 0 ] && [ ! -e "$work/fault" ] || why "the worker did not die at $1 (exit code $RC)" || return
	until_ok 120 one_is_in "$2" || why "killed at $1: $2 is not in: $OUT$ERR" || return
	expect_eq "getpgrp() after $1" "$(vm_pgrp b)" "$3" || return
	verify_clean b || return
	[ "$2" = getpgrp-is-4242 ] || vp_ok replace b getpgrp-is-7 "$patch"
}

# A worker that dies in the middle of a replacement leaves one of the two in: the next one finishes or undoes it.
replacing_dies() {
	local point
	daemon_stop && daemon_start "VMPOKE_FAULT=@$work/fault" || return
	until_ok 60 vp_ok apply b "$patch" || return
	dies replace-between:1 getpgrp-is-4242 4242 || return
	dies journal-begun:2 getpgrp-is-4242 4242 || return
	dies journal-verified:2 getpgrp-is-7 7 || return
	if [ -n "${VMPOKE_FULL-}" ]; then
		for point in journal-begin:1 journal-begun:1 journal-paused:1 journal-written:1 journal-verified:1 \
			journal-done:1 journal-ended:1 journal-begin:2 journal-paused:2 journal-written:2; do
			dies "$point" getpgrp-is-4242 4242 || return
		done
		for point in journal-done:2 journal-end:2 journal-ended:2; do
			dies "$point" getpgrp-is-7 7 || return
		done
	fi
	vp_ok revert b getpgrp-is-4242 || return
	vm_healthy b
}

run_case "guest patched" setup
[ $failures = 0 ] || finish
run_case "guest moves to another QEMU" moved
[ $failures = 0 ] || finish
run_case "forged records are refused" forged_refused
run_case "records are adopted" adopted adopted
run_case "adopted again: known" adopted already
run_case "status, verify and revert as if applied here" there_as_if_applied
run_case "neither old nor new needs attention" half_needs_attention
run_case "one patch replaces another" replaced
run_case "a worker dies in the middle of that" replacing_dies
run_case "daemon stops" daemon_stop
finish
