#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vmpoke count on a stock guest under QEMU: as many hits as the guest has made calls, no
# matter what ends the counting (its time, a storm, job-cancel, the client, the worker or
# the daemon dying), and nothing of it is left in the VM afterwards.
. "$(dirname "$0")/../lib.sh"
place=__x64_sys_getpgrp

setup() {
	vm_start a -s 2 || return
	daemon_start VMPOKE_FAULT=@"$work/fault" || return
	vp_ok add a --qmp "$work/a/qmp"
}

counting() { grep -q COUNT_PROGRESS "$work/events"; }
no_jobs() { vp qmp '{"execute": "query-jobs"}' && [ "$(field '.return | map(select(.status != "concluded")) | length')" = 0 ]; }
job() { vp qmp '{"execute": "query-jobs"}' && field '.return[0].id'; }

# count in the background: $counter is its pid.
count_start() { # ARGS...
	setpriv --pdeathsig KILL "$build/vmpoke" -c "$sock" events >"$work/events" 2>/dev/null </dev/null &
	watcher=$!
	setpriv --pdeathsig KILL "$build/vmpoke" -c "$sock" --json count a "$@" >"$work/count" 2>"$work/count.err" </dev/null &
	counter=$!
}
count_begin() { # the same, until the trap is set
	count_start "$@"
	until_ok 60 counting || why "no progress is told: $(cat "$work/count.err")"
}
count_wait() {
	wait "$counter" 2>/dev/null
	RC=$?
	OUT=$(<"$work/count")
	ERR=$(<"$work/count.err")
	kill "$watcher" 2>/dev/null
	wait "$watcher" 2>/dev/null
}

calls() { # N
	local i
	for ((i = 0; i < $1; i++)); do
		[ "$(vm_pgrp a)" = own ] || why "call $i of getpgrp() is not answered" || return
	done
}

# The VM runs, answers, and no trap stops it where it was counted.
left_alone() {
	calls 2 || return
	expect_eq status "$(vm_status a)" running || return
	vm_healthy a
}

exact() {
	count_begin $place --seconds 300 || return
	calls 7 || return
	vp_ok qmp "{\"execute\": \"job-cancel\", \"arguments\": {\"id\": \"$(job)\"}}" || return
	count_wait
	expect_eq "exit code ($ERR)" "$RC" 0 || return
	expect_eq "hits, end" "$(field '"\(.hits) \(.ended)"')" "7 asked" || return
	[ "$(field .stops)" -ge 7 ] || why "only $(field .stops) stops are told of" || return
	echo "# 7 hits in $(field .elapsed_us) us: $(field .stops) stops, $(field .stopped_us) us in all, longest $(field .longest_pause_us) us"
	left_alone
}

by_time() {
	vp_ok count a $place --seconds 0.5 || return
	[[ $OUT == "__do_sys_getpgrp: 0 hits in "* ]] || why "it says: $OUT" || return
	left_alone
}

storm() {
	vm_do a load || return
	vp_ok --json count a $place --seconds 60 || return
	expect_eq end "$(field .ended)" rate || return
	[ "$(field .hits)" -ge 3 ] && [ "$(field .hits)" -le 20 ] || why "$(field .hits) hits" || return
	vm_beats a || return
	vm_do a unload && left_alone
}

client_killed() {
	count_begin $place --seconds 300 || return
	kill -KILL "$counter"
	count_wait
	until_ok 90 no_jobs || why "it goes on without its client" || return
	left_alone
}

# The worker is our daemon's child.
worker_killed() {
	count_begin $place --seconds 300 || return
	kill -KILL "$(pgrep -P "$daemon_pid" -x vmpoke-vm)" || return
	count_wait
	[ "$RC" != 0 ] || why "it was not killed" || return
	until_ok 90 vp probe a || why "no new worker: $ERR" || return
	left_alone
}

# Stopped at a trap, the worker (and the daemon) dead.
killed_at_trap() { # WHOM
	echo "count-stopped:2$1" >"$work/fault.new" && mv "$work/fault.new" "$work/fault"
	count_start $place --seconds 300
	count_wait
	[ "$RC" != 0 ] || why "it was not killed" || return
	if [ -n "$1" ]; then
		until_ok 90 daemon_gone || why "the daemon survived" || return
		daemon_reap
		daemon_start || return
	fi
	until_ok 90 vp probe a || why "no new worker: $ERR" || return
	left_alone
}

refuses() { # CODE WORDS ARGS...
	local code=$1 words=$2
	shift 2
	vp count "$@"
	expect_eq "exit code ($ERR)" "$RC" "$code" || return
	[[ $ERR == *"$words"* ]] || why "it says: $ERR"
}

clean_end() {
	verify_clean a && left_alone && daemon_stop
}

run_case "guest registered" setup
[ $failures = 0 ] || finish
run_case "as many hits as calls" exact
run_case "its time is over" by_time
run_case "a storm ends it" storm
run_case "the client is killed" client_killed
run_case "the worker is killed while the VM runs" worker_killed
run_case "the worker is killed at a trap" killed_at_trap ""
run_case "worker and daemon are killed at a trap" killed_at_trap ":parent"
run_case "no place" refuses 2 "is no place" a "get pgrp"
run_case "an unknown symbol" refuses 5 "unknown symbol" a no_such_function
run_case "the middle of an instruction" refuses 5 "in the middle of an instruction" a $place+0x1
run_case "no seconds" refuses 2 "is no value" a $place --seconds 0
run_case "ends clean" clean_end
finish
