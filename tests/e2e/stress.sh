#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Text changed under running vCPUs of the SMP test guest, on whatever /dev/kvm
# this machine has. The vCPUs judge themselves (tests/guest/smp/smp.h); each claim
# has a control beside it that must fail, or the claim means nothing.
# A run ends with the changes it is to make, or with its time: the limits are for machines with much else to do.
. "$(dirname "$0")/../lib.sh"
stress=${VMPOKE_STRESS:-$root/build/tests/stress}

# stress_run STATUS ARGS...: the result object is in $work/result.json
stress_run() {
	local want=$1 status
	shift
	timeout -k 5 180 "$stress" "$@" --json >"$work/result.json" 2>"$work/stderr"
	status=$?
	echo "# $* -> $status $(<"$work/result.json")"
	[ $status = "$want" ] || why "exit status $status, expected $want: $(tail -n 3 "$work/stderr" | tr '\n' ' ')"
}
figure() { jq -r "$1" "$work/result.json"; }

# Controls end with what they are to show; a machine under load may leave the guest little time until then.
control_fails() { stress_run 1 --mode naive --vcpus 2 --seconds 60; }

mode_holds() {
	stress_run 0 --mode "$1" --vcpus "$2" --flips 1000 --seconds 10 || return
	[ "$(figure .flips)" -gt 0 ] || why "no change was made" || return
	expect_eq violations "$(figure .violations)" 0
}

pairs_hold() {
	stress_run 0 --mode "$1" --vcpus 4 --flips 200 --seconds 10 --sites 1 --pairs --gap 300 || return
	[ "$(figure .pairs_checked)" -gt 100 ] || why "only $(figure .pairs_checked) pairs were looked at"
}

unpaired_fails() {
	stress_run 1 --mode "$1" --vcpus 4 --seconds 120 --sites 1 --pairs --gap 300 --unpaired || return
	[ "$(figure .violation_kinds.pair)" -gt 0 ] || why "no half of a pair was seen"
}

# Every event is counted once by the guest, at whatever stage it came.
injected_seen() {
	stress_run 0 --mode "$1" --vcpus 2 --seconds 3 --nmi 100 --mce 50 || return
	[ "$(figure .nmi_sent)" -gt 10 ] && [ "$(figure .mce_sent)" -gt 0 ] ||
		why "only $(figure .nmi_sent) NMIs and $(figure .mce_sent) machine checks were sent"
}

# One NMI and one machine check at each step of a transaction and each instruction of a
# site, and a second NMI at each step in the handler of a first. All shapes: e2e/slow.
injected_at() {
	stress_run 0 --inject-at --mode "$1" --vcpus 2 --shapes call,mov4,prologue || return
	[ "$(figure .landed)" -ge 50 ] || why "only $(figure .landed) events came where they were meant to" || return
	[ "$(figure .blocked)" -ge 16 ] || why "only $(figure .blocked) NMIs waited for the end of another"
}

# A load relative to RIP, and a prologue's pushes: stepped as copies instead of held.
copies_stepped() {
	stress_run 0 --inject-at --mode staged --slots --vcpus 2 --shapes load,prologue || return
	[ "$(figure .copied)" -gt 50 ] || why "only $(figure .copied) instructions were stepped as copies"
}

hw_holds() { stress_run 0 --mode "$1" --traps hw --vcpus 2 --flips 100 --seconds 10; }

"$stress" --mode stopped --seconds 1 >/dev/null 2>"$work/stderr"
if [ $? = 77 ]; then
	skip "text under running vCPUs" "$(<"$work/stderr")"
	finish
fi
run_case "naive stores are caught" control_fails
for mode in flipped staged held stopped; do
	run_case "$mode, 1 vCPU" mode_holds "$mode" 1
	run_case "$mode, 4 vCPUs" mode_holds "$mode" 4
	run_case "$mode, NMIs and machine checks" injected_seen "$mode"
	run_case "$mode, an event at each step" injected_at "$mode"
done
run_case "staged, copies are stepped" copies_stepped
for mode in staged held; do
	run_case "$mode, debug-register traps" hw_holds "$mode"
done
for mode in flipped held stopped; do
	run_case "$mode changes pairs at once" pairs_hold "$mode"
done
run_case "halves changed apart are seen" unpaired_fails flipped
finish
