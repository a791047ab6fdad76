#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent in a stock Debian guest, over a virtio-serial port of QEMU: what it
# tells is compared with the guest's own files and with QEMU's monitor; it is
# killed and started again under a session; and what it costs is measured.
# One CPU: time-outs of the agent's link are part of what is tested.
. "$(dirname "$0")/../lib.sh"
agent=$root/build/vmpoke-agent
client=$root/build/tests/agent-client
log=${VMPOKE_LOG_DIR:-$work}/client.log

guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip agent "no guest kernel with modules"; finish; }
. "$root/tests/e2e/agent-lib.sh"

# --- the client: one question at a time ---

client_start() { # [KEY]
	coproc CLIENT { exec setpriv --pdeathsig KILL "$client" "$work/web/agent.sock" "$@" 2>>"$work/client.err"; }
	exec {to}>&"${CLIENT[1]}" {from}<&"${CLIENT[0]}"
	# Or the client never sees the end of its input.
	eval "exec ${CLIENT[1]}>&- ${CLIENT[0]}<&-"
	client_pid=$CLIENT_PID
}

client_stop() {
	exec {to}>&- {from}<&-
	wait "$client_pid" 2>/dev/null
	true
}

# ask COMMAND...: sets ANSWER, true when it is OK.
ask() {
	echo "$*" >&"$to"
	IFS= read -r -t 60 ANSWER <&"$from" || why "the client does not answer '$*'" || return
	echo "$1: $ANSWER" >>"$work/client.log"
	[[ $ANSWER == OK* ]] || why "${*:0:3}: $ANSWER"
}

# A member of the last answer.
said() { sed -n "s/.* $1=\([^ ]*\).*/\1/p" <<<"$ANSWER "; }

# --- cases ---

binary_small() {
	local size
	size=$(stat -c %s "$agent")
	echo "# vmpoke-agent: $size bytes"
	[ "$size" -lt 204800 ] || why "vmpoke-agent has $size bytes" || return
	! readelf -d "$agent" 2>/dev/null | grep -q NEEDED || why "vmpoke-agent is not static"
}

hello() {
	ask ready 30000 && ask hello || return
	echo "# hello after $(said hello_us) us"
	expect_eq release "$(said release)" "$(sed -nE 's/^UP ([^ ]+) .*/\1/p' "$work/web/console" | tr -d '\r')" || return
	expect_eq cpus "$(said cpus)" 2 || return
	expect_eq page "$(said page)" 4096 || return
	expect_eq sources "$(said sources)" 0x1f || return
	[[ $(said build-id) =~ ^[0-9a-f]{40}$ ]] || why "build-id is '$(said build-id)'" || return
	grep -q "^${text:=$(said text)}" <(sed 's/^0*/0x/' "$work/web/debugcon" | grep ' _text$') ||
		why "_text is said to be at $text"
}

# Every 40th name that is there once.
symbols() {
	local names want
	awk '!/\[/ { print $1, $3 }' "$work/web/debugcon" | sort -k2,2 | uniq -f1 -u | awk 'NR % 40 == 1' >"$work/sample"
	[ "$(wc -l <"$work/sample")" -gt 1000 ] || why "the guest printed only few symbols" || return
	head -n 1000 "$work/sample" >"$work/some"
	names=$(awk '{ print $2 }' "$work/some" | tr '\n' ' ')
	want=$(awk '$1 ~ /^0+$/ { print $1 "/1"; next } { print $1 "/1" }' "$work/some" | tr '\n' ' ')
	ask symbols "$names" || return
	[ "${ANSWER#OK } " = "$want" ] || why "addresses differ from /proc/kallsyms"
}

address_of() { awk -v name="$1" '$3 == name { print "0x" $1; exit }' "$work/web/debugcon"; }

bytes() {
	local addr
	addr=$(address_of __x64_sys_getpgrp)
	ask bytes "$addr" 32 || return
	expect_eq "bytes of __x64_sys_getpgrp" "${ANSWER#OK }" "$(vm_bytes web "$addr" 32 | sed 's/0x//g; s/ //g')" || return
	# Memory that is not text stays the guest's.
	ask bytes 0xffff888000001000 16 && why "the agent reads memory that is not kernel text" && return 1
	[[ $ANSWER == "ERR 1 "* ]] || why "$ANSWER"
}

# Nobody, a kprobe, nobody, ftrace, nobody.
conflicts() {
	local addr
	addr=$(address_of __x64_sys_getpgid)
	ask conflicts "$addr" 8 || return
	expect_eq "sources" "$(said sources)" 0xe || return # no name, so no table of symbols was read
	expect_eq "conflicts at first" "$(said n)" 0 || return
	vm_do web kprobe __x64_sys_getpgid && ask conflicts "$addr" 8 || return
	[[ $ANSWER == *" kprobe:__x64_sys_getpgid+0x"*":0x4"* ]] || why "kprobe: $ANSWER" || return
	vm_do web unkprobe && vm_do web ftrace __x64_sys_getpgid && ask conflicts "$addr" 8 || return
	[[ $ANSWER == *" ftrace:__x64_sys_getpgid:"* && $ANSWER != *kprobe* ]] || why "ftrace: $ANSWER" || return
	vm_do web unftrace && ask conflicts "$addr" 8 || return
	expect_eq "conflicts at last" "$(said n)" 0
}

quiesce() {
	ask quiesce 5000 || return
	echo "# quiesce: ${ANSWER#OK }"
	expect_eq "visited CPUs" "$(said visited)" 2 || return
	expect_eq "refused CPUs" "$(said refused)" 0 || return
	expect_eq "RCU grace period" "$(said rcu)" 1
}

# What the host finds in the registers of a parked thread, seen by QEMU's gdbstub.
park() { # FUNCTION CALL [third]
	local addr calls
	addr=$(address_of "$1")
	ask park 0x1122334455667788 0x99aabbccddeeff01 60000 "$2" || return
	expect_eq function "$(said function)" "$1" || return
	"$python" "$root/tests/e2e/park_trap.py" "$work/web/gdb" "$addr" 0x1122334455667788 0x99aabbccddeeff01 ${3-} \
		>"$work/trap" 2>&1 || why "$(tail -n 1 "$work/trap")" || return
	ask state || return
	expect_eq parked "$(said parked)" 1 || return
	calls=$(said calls)
	[ "$calls" -gt 0 ] || why "no call was made" || return
	ask unpark && ask state || return
	expect_eq parked "$(said parked)" 0
}

restarted() {
	ask ping && ask hello || return
	local generation
	generation=$(said generation)
	vm_do web agent-kill && vm_do web agent || return
	# What was on its way is lost, and said to be.
	ask ping && why "a question to the old agent was answered by the new one" && return 1
	ask ready 60000 && ask hello || return
	expect_eq generation "$(said generation)" $((generation + 1)) || return
	ask ping || return
	echo "# ping after that: ${ANSWER#OK }"
	client_stop
	client_start
	ask ready 30000 && ask hello || return
	echo "# hello of a new host after $(said hello_us) us"
}

figures() { # sets TICKS and KIB
	local mark line
	mark=$(vm_mark web)
	vm_do web agent-figures || return
	line=$(tail -n "+$((mark + 1))" "$work/web/console" | tr -d '\r' | grep ^AGENT)
	read -r _ TICKS _ KIB _ <<<"$line"
}

# Not one tick of CPU time in 5 s, whether a host is there or not.
at_rest() { # WHAT
	local before
	figures || return
	before=$TICKS
	sleep 5
	figures || return
	echo "# at rest, $1: $((TICKS - before)) ticks in 5 s, $KIB KiB resident"
	expect_eq "CPU ticks in 5 s ($1)" $((TICKS - before)) 0 || return
	[ "$KIB" -lt 2048 ] || why "the agent has $KIB KiB resident"
}

reconnect() {
	local i
	for i in 1 2 3 4 5; do
		client_stop
		client_start
		ask ready 30000 && ask ping || return
	done
}

with_key() {
	vm_do web agent-kill && vm_do web agent "--key /etc/agent.key" || return
	client_start "$key"
	ask ready 30000 && ask hello && expect_eq authenticated "$(said authenticated)" 1 && ask ping || return
	client_stop
	client_start
	ask ready 3000 && why "an agent with a key took a host without one" && return 1
	[[ $ANSWER == *"wants to see the host's"* ]] || why "$ANSWER" || return
	client_stop
	client_start "${key/00/01}"
	ask ready 3000 && why "an agent took a wrong key" && return 1
	[[ $ANSWER == *"does not have this VM's key"* ]] || why "$ANSWER" || return
	client_stop
}

run_case "binary is small and static" binary_small
make_initramfs || { not_ok "initramfs" "$WHY"; finish; }
vm_start web -- -device virtio-serial-pci -chardev "socket,id=agent,path=$work/web/agent.sock,server=on,wait=off" \
	-device virtserialport,chardev=agent,name=org.vmpoke.agent.0 -gdb "unix:$work/web/gdb,server=on,wait=off"
status=$?
case $status in
0) ;;
2) skip "agent in a guest" "$WHY"; finish ;;
*) not_ok "agent in a guest: starts" "$WHY"; finish ;;
esac
run_case "guest prints its symbols" vm_do web symbols
run_case "agent starts" vm_do web agent
client_start
run_case "hello" hello
run_case "symbols are those of /proc/kallsyms" symbols
run_case "bytes are those QEMU sees" bytes
run_case "conflicts: kprobe, ftrace" conflicts
run_case "quiesce" quiesce
run_case "park: the host finds the nonces" park __x64_sys_getpgid 0
run_case "park: in the call that is borrowed" park __x64_sys_sched_get_priority_min 2 third
run_case "killed and started again" restarted
run_case "at rest with a host" at_rest "host connected"
client_stop
run_case "at rest without a host" at_rest "host gone"
client_start
run_case "host comes and goes" reconnect
client_stop
run_case "keys" with_key
run_case "guest is healthy" vm_healthy web
finish
