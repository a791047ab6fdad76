#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The whole road under load: 40 apply/revert cycles (200 with VMPOKE_FULL=1) of a function that 4 vCPUs
# call all the time. The guest must live, see only the two legal values, and
# verify must be clean.
. "$(dirname "$0")/../lib.sh"
cycles=${ROAD_CYCLES:-$([ -n "${VMPOKE_FULL-}" ] && echo 200 || echo 40)}
patch=$root/tests/demo.yaml

setup() {
	vm_start a -s 4 -c vmtest=load || return
	vm_wait a 120 '^pgrp ' || return
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp"
}

applies() {
	vp_ok --json apply a "$patch" || return
	expect_eq state "$(field .state)" applied || return
	expect_eq changed "$(field .changed)" true || return
	expect_eq mode "$(field .mode)" stopped || return
	expect_eq sites "$(field .sites)" 1 || return
	vm_wait a 120 '^pgrp 4242 ' "$(vm_mark a)" || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp a)" 4242
}

status_shows_it() {
	vp_ok --json status a || return
	expect_eq patches "$(field '[.. | .patches? // empty | arrays | .[] | .name] | join(" ")')" getpgrp-is-4242 || return
	vp_ok status a getpgrp-is-4242
}

reverts() {
	vp_ok --json revert a getpgrp-is-4242 || return
	expect_eq state "$(field .state)" reverted || return
	expect_eq changed "$(field .changed)" true || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp a)" own || return
	vp status a getpgrp-is-4242
	expect_eq "exit code of status" "$RC" 3
}

many_cycles() {
	local i start=$SECONDS
	for ((i = 1; i <= cycles; i++)); do
		vp_ok --json apply a "$patch" || why "cycle $i: $WHY" || return
		field .longest_pause_us >>"$work/pauses"
		expect_eq "cycle $i: state" "$(field .state),$(field .changed)" applied,true || return
		[ $((i % 20)) != 0 ] || verify_clean a || return
		vp_ok --json revert a getpgrp-is-4242 || why "cycle $i: $WHY" || return
		field .longest_pause_us >>"$work/pauses"
		expect_eq "cycle $i: state" "$(field .state),$(field .changed)" reverted,true || return
	done
	echo "# $cycles cycles in $((SECONDS - start)) s; pause in us: median $(sort -n "$work/pauses" | sed -n "${cycles}p"), longest $(sort -n "$work/pauses" | tail -n 1)"
}

both_values_only() {
	vm_healthy a || return
	[ "$(tr -d '\r' <"$work/a/console" | awk '$1 == "pgrp" { print $2 }' | sort -u | wc -l)" = 2 ] ||
		why "values seen: $(tr -d '\r' <"$work/a/console" | awk '$1 == "pgrp" { print $2 }' | sort | uniq -c | tr -s ' \n' ' ')"
}

ends_unpatched() {
	verify_clean a || return
	expect_eq status "$(vm_status a)" running || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp a)" own || return
	vm_beats a
}

history_is_complete() {
	vp_ok --json history a || return
	[ "$(field '.entries | length')" -ge 2 ] || why "history holds $(field '.entries | length') entries" || return
	expect_eq "results that are not applied/reverted" \
		"$(field '[.entries[] | select(.result != "applied" and .result != "reverted")] | length')" 0
}

run_case "guest under load, registered" setup
[ $failures = 0 ] || finish
run_case "apply changes the running kernel" applies
run_case "status shows it" status_shows_it
run_case "revert puts it back" reverts
run_case "$cycles apply/revert cycles on 4 vCPUs" many_cycles
run_case "only the two legal values, no complaint" both_values_only
run_case "history" history_is_complete
run_case "ends unpatched and running" ends_unpatched
run_case "daemon stops" daemon_stop
finish
