#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The worker's list of system calls, seen from outside: it is in force in each kind of worker, and a
# worker that makes another call is killed, named in the log, and followed by the next. The other
# tests all run with it. QEMU runs no guest here: it waits at the first instruction.
. "$(dirname "$0")/../lib.sh"
trap 'status=$?; machine_end; (exit $status); lib_cleanup' EXIT
acct=163 # what the fault point calls, on x86-64
machine=

# Machines outlive the daemon, and so this script.
machine_end() { [ -z "$machine" ] || ! grep -qaF "$work" "/proc/$machine/cmdline" 2>/dev/null || kill -KILL "$machine"; }

qemu_started() {
	mkdir "$work/q"
	setpriv --pdeathsig KILL qemu-system-x86_64 -S -accel tcg -m 64 -nodefaults -display none -vga none -nic none \
		-qmp "unix:$work/q/qmp,server=on,wait=off" >"$work/q/qemu.log" 2>&1 </dev/null &
	vm_pid[q]=$!
	until_ok 90 [ -S "$work/q/qmp" ] || why "QEMU: $(tail -n 1 "$work/q/qemu.log")"
}

# Workers are children of the daemon that nobody else starts.
worker_pid() { # VM
	local pid
	for pid in $(ps -o pid= --ppid "$daemon_pid"); do
		tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "--name $1 " && echo "$pid"
	done
}

caged() { # PID
	local line
	for line in 'Seccomp:	2' 'NoNewPrivs:	1'; do
		grep -qxF "$line" "/proc/$1/task/"*/status || why "not '$line': $(grep "^${line%%:*}" "/proc/$1/status")" || return
		! grep -h "^${line%%:*}:" "/proc/$1/task/"*/status | grep -qvxF "$line" || why "a thread is not" || return
	done
}

worker_caged() {
	local pid
	vp_ok add q --qmp "$work/q/qmp" || return
	pid=$(worker_pid q)
	[ -n "$pid" ] || why "no worker" || return
	caged "$pid"
}

log_has() { grep -qE "$1" "$work/vmpoked.log" || why "the log has no line '$1'"; }
answers() { vp --json info "$1"; }

worker_killed() {
	echo forbidden-call:1 >"$work/fault"
	vp info q
	[ "$RC" != 0 ] || why "the call was made" || return
	[ ! -e "$work/fault" ] || why "the fault point was not passed" || return
	until_ok 90 log_has "worker [0-9]+ is killed: it made system call $acct, which it may not" || return
	log_has "^vmpoke-vm: q: it makes system call $acct, which it may not" || return
	until_ok 90 answers q || why "the next worker does not answer: $ERR" || return
	caged "$(worker_pid q)"
}

# Its list is from when it started: an address that needs another is for its successor, which is not a crime.
agent_elsewhere() {
	local before
	before=$(worker_pid q)
	vp_ok agent q --set vsock:77 || return
	until_ok 90 another_worker "$before" || why "no worker for the new address" || return
	until_ok 90 answers q || why "it does not answer: $ERR" || return
	log_has "did not take the agent's new address: this worker may not use such a link" || return
	expect_eq "forbidden calls" "$(grep -c '^vmpoke-vm: q: it makes system call' "$work/vmpoked.log")" 1
}
another_worker() { local now; now=$(worker_pid q); [ -n "$now" ] && [ "$now" != "$1" ]; }

machine_caged() {
	vp_ok --json run bare --kernel "$guest_dir/beat.elf" --memory 64M --console "$work/bare.console" || return
	machine=$(field .pid)
	until_ok 90 grep -qs UP "$work/bare.console" || why "the guest does not print" || return
	caged "$machine"
}

machine_over() { vp --json info bare && [ "$(field .state)" = shutdown ]; }

machine_killed() {
	echo forbidden-call:1 >"$work/fault"
	vp probe bare
	[ "$RC" != 0 ] || why "the call was made" || return
	until_ok 90 log_has "^vmpoke-vm: bare: it makes system call $acct, which it may not" || return
	until_ok 90 machine_over || why "the machine goes on: $(field .state)" || return
	grep -q 'signal 31' <<<"$(field .reason)" || why "the reason is: $(field .reason)"
}

run_case "QEMU waits" qemu_started || finish
run_case "vmpoked runs" daemon_start "VMPOKE_FAULT=@$work/fault" || finish
run_case "a worker of QEMU's is confined" worker_caged || finish
run_case "its forbidden call is named, the next worker comes" worker_killed
run_case "an agent behind another kind of link takes another worker" agent_elsewhere
if [ -w /dev/kvm ]; then
	run_case "a machine's threads are all confined" machine_caged &&
		run_case "a machine ends with its forbidden call" machine_killed
else
	skip "a machine is confined" "no /dev/kvm"
fi
finish
