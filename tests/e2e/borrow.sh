#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A borrowed context in stock kernels: 1,000 calls with checked results, waiting for all
# tasks under load, memory for code, text_mutex against the kernel's own ftrace; the
# parked thread killed at any step, and the host at every step. tests/tools/borrow-run
# does the host's part. On a genuine /dev/kvm too: borrow-kvm.sh.
# One CPU: each step has a time-out of the tool that is tested.
. "$(dirname "$0")/../lib.sh"
nonces="123456789abcdef0 fedcba9876543210"
calls=${BORROW_CALLS:-1000} later_calls=100
[ "${VMPOKE_FULL-}" != 1 ] || later_calls=1000
# Of a call its begin and its end; of text_mutex what it is taken, kept and given back with, and one that nobody reports.
steps="2 4 7 10 13"
[ "${VMPOKE_FULL-}" != 1 ] || steps=$(seq 21)

tool() { # VM, commands on stdin; output in $work/tool
	# shellcheck disable=SC2086
	timeout 400 "$build/borrow-run" qemu "$work/$1/qmp" $nonces >"$work/tool" 2>&1
}

# borrow VM COMMAND...: all of them must succeed.
borrow() {
	local vm=$1
	shift
	printf '%s\n' begin "$@" end | tool "$vm"
	local status=$?
	sed -n 's/^# /# '"$vm"': /p' "$work/tool"
	[ $status = 0 ] && grep -q '^ok end$' "$work/tool" || why "status $status: $(grep -v '^#\|^ok' "$work/tool" | head -n 1)"
}

# One thread for all vCPUs: with several even QEMU 10's TCG now and then goes on executing an int3 that the
# kernel has taken out of its text again, and a CPU that does so with interrupts off never stops.
setup() { # VM KERNEL
	vm_start "$1" -k "$2" -q 10 -t single || return
	# A machine with too much to do lets a kernel stall while it boots: that says nothing about us.
	started=$(vm_mark "$1")
	vm_do "$1" park "$nonces 100"
}

# The kernel changes its own text (under text_mutex) and back.
own_ftrace() {
	vm_do "$1" ftrace __do_sys_getpgrp && vm_do "$1" unftrace
}

uncomplaining() { # VM
	vm_alive "$1" || why "QEMU of $1 ended" || return
	! vm_seen "$1" '^(KMSG|ILLEGAL|STALLED)|Kernel panic' "$started" ||
		why "$(tail -n "+$((started + 1))" "$work/$1/console" | grep -aE '^(KMSG|ILLEGAL|STALLED)|Kernel panic' | head -n 1)"
}
healthy() { uncomplaining "$1" && own_ftrace "$1"; } # VM

under_load() {
	vm_do "$1" load && borrow "$1" 'rcu 60000' 'rcu 60000' 'calls 20'
}

# With the mutex held the guest's own ftrace waits for it (the mutex says so), and gets it afterwards.
ftrace_waits() {
	local vm=$1 mark
	mark=$(vm_mark "$vm")
	: >"$work/tool"
	{
		printf '%s\n' begin 'lock 20000'
		until_ok 180 grep -qE '^(ok|not ok) lock' "$work/tool"
		# The line is in the guest's serial port before it runs on.
		echo "ftrace __do_sys_getpgrp" >&"${vm_fd[$vm]}"
		printf '%s\n' 'waiter 40000' 'run 1000' 'waiter 1000'
		until_ok 180 grep -qE '^(ok|not ok) waiter 1000' "$work/tool"
		vm_seen "$vm" '^DONE ftrace' "$mark" && touch "$work/too-early"
		printf '%s\n' unlock 'free 30000' end
	} | tool "$vm" || why "$(grep '^not' "$work/tool" | head -n 1)" || return
	[ ! -e "$work/too-early" ] || why "ftrace was done while text_mutex was held" || return
	vm_wait "$vm" 180 '^DONE ftrace 0$' "$mark" || return
	vm_do "$vm" unftrace
}

# The thread gets SIGKILL when BEGIN is done, and END must still work: it dies on its way out only.
killed_in() { # VM BEGIN END...
	local vm=$1 first=$2 mark
	shift 2
	mark=$(vm_mark "$vm")
	: >"$work/tool"
	{
		printf '%s\n' begin "$first"
		until_ok 180 grep -qE "^(ok|not ok) $first" "$work/tool"
		echo unpark >&"${vm_fd[$vm]}"
		printf '%s\n' "$@" 'run 300' end
	} | tool "$vm" || why "$(grep '^not' "$work/tool" | head -n 1)" || return
	vm_wait "$vm" 120 '^DONE unpark 0' "$mark" || return
	mark=$(vm_mark "$vm")
	vm_do "$vm" parks || return
	vm_seen "$vm" '^PARKS 0' "$mark" || why "the thread lives on" || return
	healthy "$vm" && vm_do "$vm" park "$nonces 100"
}

# Each row of the table in vmm/borrow/steps.c: the rows whose hits the VMM does not report, so that it comes to
# that, the rule that is to be told then, and what is asked.
held="lock 40000,run 100"
rows=(
	"1|||calls 1"
	"2|||calls 1"
	"3|||$held,unlock"
	"4|||$held,unlock"
	"5|||lock 20000,run 3000,unlock"
	"6|||$held,rcu 40000,unlock"
	"7|||$held,rcu 40000,unlock"
	"8|||$held,unlock"
	"9|8||$held,unlock"
	"10|||$held,unlock"
	"11|4|borrow-missed|lock 40000"
	"12|5|borrow-missed|lock 20000,awake 40000,unlock"
	"13|6|borrow-missed|$held,rcu 40000"
	"14|7|borrow-missed|$held,rcu 40000"
	"15|2|borrow-missed|sleep 20"
	"16|4 11|borrow-missed|lock 40000"
	"17|5 12|borrow-missed|lock 20000,awake 40000,unlock"
	"18|6 13|borrow-missed|$held,rcu 40000"
	"19|7 14|borrow-missed|$held,rcu 40000"
	"20|8 9|borrow-missed|$held,unlock"
	"21|10|borrow-missed|$held,unlock"
)
every_row() {
	printf '%s\n' rows | tool "$1" || return
	expect_eq "number of rows" "$(sed -n 's/^# rows //p' "$work/tool")" "${#rows[@]}"
}

# The thread sleeps where the row is about to be taken until it has its SIGKILL, of which it dies on its way out.
killed_at() { # VM ROW MISSED RULE COMMANDS
	local vm=$1 row=$2 missed=0 rule=$4 n status commands
	for n in $3; do missed=$((missed | 1 << n)); done
	IFS=, read -ra commands <<<"$5"
	rm -f "$work/there"
	printf '%s\n' begin "${commands[@]}" 'run 300' 'free 20000' end |
		VMPOKE_TRIAL=$row:$(printf %x $missed):$work/there tool "$vm" &
	until_ok 180 test -e "$work/there" && vm_do "$vm" unpark
	status=$?
	rm -f "$work/there"
	wait $!
	[ $status = 0 ] || why "it did not come to that: $WHY; $(tail -n 1 "$work/tool")" || return
	grep -q '^ok end$' "$work/tool" || why "$(tail -n 1 "$work/tool")" || return
	expect_eq "what was not done" "$(sed -n 's/^not ok .*\[\(.*\)\]$/\1/p' "$work/tool" | sort -u)" "$rule" || return
	until_ok 120 nobody_parks "$vm" || why "the thread lives on" || return
	uncomplaining "$vm"
}
nobody_parks() {
	local mark
	mark=$(vm_mark "$1")
	vm_do "$1" parks && vm_seen "$1" '^PARKS 0' "$mark"
}
killed_at_rows() { # VM ROW...
	local vm=$1 row missed rule commands
	shift
	for row; do
		IFS='|' read -r row missed rule commands <<<"${rows[row - 1]}"
		killed_at "$vm" "$row" "$missed" "$rule" "$commands" || why "row $row: $WHY"
		local status=$?
		vm_do "$vm" park "$nonces 100" && [ $status = 0 ] || return
	done
	echo "# $vm: killed at $# steps"
	own_ftrace "$vm"
}

# Whatever is asked is done while thread after thread is killed.
killed_anywhere() {
	local vm=$1 mark kills
	mark=$(vm_mark "$vm")
	vm_do "$vm" unpark && vm_do "$vm" churn "$nonces" || return
	borrow "$vm" 'calls 100' 'sleep 200' 'lock 20000' 'run 200' unlock 'exec 5000' 'rcu 60000' 'calls 100' \
		'lock 20000' unlock 'free 20000' || return
	vm_do "$vm" unchurn || return
	kills=$(tail -n "+$((mark + 1))" "$work/$vm/console" | tr -d '\r' | sed -n 's/^CHURNED //p')
	echo "# $vm: $kills threads killed"
	[ "${kills:-0}" -ge 5 ] || why "only ${kills:-no} threads were killed" || return
	healthy "$vm" && vm_do "$vm" park "$nonces 100"
}

# The host's part killed at a point; the VM, run on by a successor, must be as if nothing had been.
host_killed() { # VM POINT COMMAND...
	local vm=$1 point=$2
	shift 2
	printf '%s\n' begin "$@" end | VMPOKE_FAULT=$point tool "$vm" 2>/dev/null
	[ "${PIPESTATUS[1]}" = 137 ] || why "$point was never reached: $(tail -n 1 "$work/tool")" || return
	printf '%s\n' recover 'free 20000' | tool "$vm" || why "$point: $(grep '^not' "$work/tool" | head -n 1)" || return
	healthy "$vm" || why "$point: $WHY" || return
	borrow "$vm" 'calls 2' >/dev/null || why "$point: afterwards: $WHY"
}

host_killed_everywhere() {
	local vm=$1 n
	host_killed "$vm" borrow-attached:1 'calls 1' || return
	# 1: into the function, 2: out of it
	for n in 1 2; do
		host_killed "$vm" borrow-deciding:$n 'calls 1' || return
		host_killed "$vm" borrow-decided:$n 'sleep 50' || return
	done
	# 1: to lock, 2: held, asleep, 3: once more, 5: the unlock function is back
	for n in 1 2 3 5; do
		host_killed "$vm" borrow-decided:$n 'lock 20000' 'run 60' unlock 'calls 3' || return
	done
	host_killed "$vm" borrow-deciding:2 'lock 20000' unlock || return
	host_killed "$vm" borrow-ending:1 'lock 20000' || return
	[ "${VMPOKE_FULL-}" = 1 ] || return 0
	# Each stop of text_mutex with a call in between, before and after the thread is sent on.
	for n in 1 2 3 4 5 6 7; do
		host_killed "$vm" borrow-deciding:$n 'lock 20000' 'run 60' 'rcu 20000' unlock || return
		host_killed "$vm" borrow-decided:$n 'lock 20000' 'run 60' 'rcu 20000' unlock || return
	done
}

wrong_nonce() {
	local nonces="1 2"
	printf '%s\n' begin 'run 300' end | tool "$1" || why "$(tail -n 1 "$work/tool")" || return
	grep -q '^# calls 0, foreign [1-9]' "$work/tool" || why "$(grep '^#' "$work/tool")"
}

status=0
setup a 6.1 || status=$?
if [ $status = 2 ]; then
	skip "borrowed context" "$WHY"
	finish
elif [ $status != 0 ]; then
	not_ok "borrowed context" "$WHY"
	finish
fi
run_case "another nonce: the thread is let pass" wrong_nonce a
run_case "$calls calls of harmless functions" borrow a "calls $calls"
run_case "memory for code: allocated, run, freed" borrow a 'exec 5000' 'exec 1' 'exec 1048576'
run_case "a deadline that passes leaves the call to itself" borrow a 'late 600' 'calls 2'
run_case "the kernel's own ftrace waits for text_mutex" ftrace_waits a
run_case "SIGKILL while asleep in a function" killed_in a 'asleep 2000' 'awake 30000'
run_case "SIGKILL while text_mutex is held" killed_in a 'lock 20000' 'run 500' unlock 'free 20000'
run_case "what is killed are all steps that there are" every_row a
run_case "SIGKILL at a step" killed_at_rows a $steps
run_case "the host killed at every step" host_killed_everywhere a
run_case "synchronize_rcu_tasks under load" under_load a
run_case "SIGKILL at any step, under load" killed_anywhere a
run_case "no complaint of the kernel, and it goes on" healthy a
vm_kill a
if setup b 6.12; then
	run_case "Linux 6.12: calls, all tasks, memory, text_mutex" borrow b "calls $later_calls" 'rcu 60000' 'exec 5000' 'lock 20000' 'run 100' unlock
	run_case "Linux 6.12: the kernel's own ftrace waits for text_mutex" ftrace_waits b
	run_case "Linux 6.12: no complaint" healthy b
elif [ $? = 2 ]; then
	skip "Linux 6.12" "$WHY"
else
	not_ok "Linux 6.12" "$WHY"
fi
finish
