# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Functions of the tests that need a VM: start and watch guests, run a vmpoked
# of our own, say what passed. Source it from bash. Every process started here
# ends with the shell that started it (pdeathsig, and an EXIT trap); nothing is
# ever looked up by name.
# Result lines on stdout: "ok NAME", "not ok NAME: why", "skip NAME: why".

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${VMPOKE_BUILD:-$root/build/test}
guest_dir=${VMPOKE_GUEST:-$root/build/tests}
work=$(mktemp -d "${TMPDIR:-/tmp}/vmpoke.XXXXXX")
sock=$work/run/control.sock
# Debian's own, not a shim in front of it: a test starts it hundreds of times.
python=/usr/bin/python3
[ -x "$python" ] || python=python3
failures=0
declare -A vm_pid=() vm_fd=()
daemon_pid=
daemon_options=() # of vmpoked, besides those below
trap lib_cleanup EXIT
trap 'exit 130' INT TERM HUP

# --- results ---

ok() { echo "ok $1"; }
skip() { echo "skip $1: $2"; }
not_ok() {
	echo "not ok $1: $2"
	failures=$((failures + 1))
}

# For use in a case function: `... || why "what was wrong" || return`.
why() {
	WHY=$*
	return 1
}

# run_case NAME FUNCTION ARGS...: one test case.
run_case() {
	local name=$1
	shift
	WHY=
	if "$@"; then ok "$name"; else not_ok "$name" "${WHY:-$1 failed}"; fi
}

# Ends a test script: non-zero when a case failed; keeps the evidence then.
finish() { exit $((failures > 0)); }

expect_eq() { # WHAT GOT WANT
	[ "$2" = "$3" ] || why "$1 is '$2', expected '$3'"
}

# until_ok SECONDS COMMAND...: repeats until it succeeds.
until_ok() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.03
	done
}

now_us() { echo "${EPOCHREALTIME/./}"; }

# --- which QEMU, which kernel ---

# KVM only where it can run stock Linux: a /dev/kvm without VMX/SVM under it cannot.
# Without cx16 where TCG is QEMU 7.2's: its cmpxchg16b loses the flags now and then,
# and 4 of 10 boots of Linux 6.12 end in the slab allocator (0 of 12 without it).
accel_args() { # [QEMU [TCG THREAD MODE]]
	if [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
		echo "-accel kvm -cpu host"
	else
		echo "-accel tcg,thread=${2:-multi} -cpu max$([ "${1:-7}" != 7 ] || echo ,-cx16)"
	fi
}

# Command line of QEMU "7" (the system's) or "10" (fetched), words separated by spaces.
qemu_command() {
	local dir
	case $1 in
	7) command -v qemu-system-x86_64 ;;
	10)
		dir=$("$root/tests/fetch" qemu-10) || return 1
		! ldd "$dir/usr/bin/qemu-system-x86_64" | grep -q 'not found' || return 1
		echo "$dir/usr/bin/qemu-system-x86_64 -L $dir/usr/share/qemu -L $dir/usr/share/seabios"
		;;
	esac
}

kernel_image() { "$root/tests/fetch" "kernel-$1"; }

# --- VMs ---

# vm_start NAME [-k 6.1|6.12] [-q 7|10] [-s CPUS] [-t single|multi] [-c CMDLINE] [-i] [-- QEMU ARGS...]
# -i: the guest comes later (-incoming), and is not waited for.
# Files in $work/NAME: console, qmp (for vmpoked), mon (our own monitor), cmd (guest commands).
# VM_BOOT_LIMIT: seconds it may take (240). 2: this QEMU or kernel is not to be had, $WHY says which.
vm_start() {
	local name=$1 kernel=6.1 qemu=7 smp=2 thread=multi cmdline='' incoming='' dir=$work/$1 image command opt OPTIND=1
	shift
	while getopts k:q:s:t:c:i opt; do
		case $opt in
		k) kernel=$OPTARG ;;
		q) qemu=$OPTARG ;;
		s) smp=$OPTARG ;;
		t) thread=$OPTARG ;;
		c) cmdline=$OPTARG ;;
		i) incoming=yes ;;
		*) return 1 ;;
		esac
	done
	shift $((OPTIND - 1))
	command=$(qemu_command "$qemu" 2>>"$work/fetch.log") || { WHY="no QEMU $qemu here"; return 2; }
	image=$(kernel_image "$kernel" 2>>"$work/fetch.log") || { WHY="no kernel $kernel here"; return 2; }
	mkdir -p "$dir"
	mkfifo "$dir/cmd.in" "$dir/cmd.out"
	# shellcheck disable=SC2086
	setpriv --pdeathsig KILL $command $(accel_args "$qemu" "$thread") -name "$name" -smp "$smp" -m 512 \
		-nodefaults -display none -vga none -nic none -serial "file:$dir/console" -serial "pipe:$dir/cmd" \
		-debugcon "file:$dir/debugcon" -monitor none \
		-qmp "unix:$dir/qmp,server=on,wait=off" -qmp "unix:$dir/mon,server=on,wait=off" \
		-kernel "$image" -initrd "$guest_dir/initramfs.gz" \
		-append "console=ttyS0 quiet panic=-1 $cmdline" "$@" >"$dir/qemu.log" 2>&1 </dev/null &
	vm_pid[$name]=$!
	exec {vm_fd[$name]}<>"$dir/cmd.in"
	[ -z "$incoming" ] || return 0
	# A guest that panics would boot again and hide it.
	until_ok "${VM_BOOT_LIMIT:-240}" vm_seen "$name" '^UP |Kernel panic' && vm_seen "$name" '^UP ' ||
		why "the guest did not come up: $(tail -qn 1 "$dir/qemu.log" "$dir/console" | tr -d '\r' | tr '\n' ' ')"
}

vm_alive() { kill -0 "${vm_pid[$1]}" 2>/dev/null; }

# Number of console lines so far, for vm_wait's last argument.
vm_mark() { wc -l <"$work/$1/console"; }

vm_seen() { # NAME PATTERN [AFTER LINE]
	tail -n "+$((${3:-0} + 1))" "$work/$1/console" 2>/dev/null | tr -d '\r' | grep -qE -- "$2"
}

# vm_wait NAME SECONDS PATTERN [AFTER LINE]: a console line appears in time.
vm_wait() {
	until_ok "$2" vm_seen "$1" "$3" "${4:-0}" || why "no line '$3' on the console of $1 within $2 s"
}

# vm_do NAME COMMAND [ARGUMENT]: a guest command, waits until it is done, its status. What ends a hang
# is VM_DO_LIMIT seconds (120): an emulated guest that shares two CPUs with other tests is slow.
vm_do() {
	local name=$1 mark
	shift
	mark=$(vm_mark "$name")
	echo "$*" >&"${vm_fd[$name]}"
	vm_wait "$name" "${VM_DO_LIMIT:-120}" "^DONE $1 " "$mark" || return 1
	vm_seen "$name" "^DONE $1 0\$" "$mark" || why "guest command '$*' failed: $(tail -n 2 "$work/$name/console" | head -n 1)"
}

# What getpgrp() gives a new process of the guest: "own", "4242", or something else.
vm_pgrp() {
	local mark
	mark=$(vm_mark "$1")
	vm_do "$1" pgrp || return 1
	tail -n "+$((mark + 1))" "$work/$1/console" | tr -d '\r' |
		awk '$1 == "PGRP" { print ($2 == $4) ? "own" : $2 }'
}

# The guest's kernel and the workload complained about nothing.
vm_healthy() {
	vm_alive "$1" || why "QEMU of $1 ended" || return
	if vm_seen "$1" '^(KMSG|ILLEGAL|STALLED)|Kernel panic'; then
		why "$(tr -d '\r' <"$work/$1/console" | grep -E '^(KMSG|ILLEGAL|STALLED)|Kernel panic' | head -n 1)"
	fi
}

# The guest still makes progress: a console line newer than now.
vm_beats() {
	vm_wait "$1" 120 '^pgrp ' "$(vm_mark "$1")" || why "$1 does not make progress any more"
}

# vm_mon NAME JSON...: QMP commands on our own monitor, one reply a line.
vm_mon() {
	local name=$1
	shift
	"$python" "$root/tests/e2e/qmp.py" "$work/$name/mon" "$@"
}

vm_hmp() { # NAME COMMAND LINE
	vm_mon "$1" "$(jq -cn --arg c "$2" '{execute: "human-monitor-command", arguments: {"command-line": $c}}')" |
		jq -r .return | tr -d '\r'
}

vm_status() { vm_mon "$1" '{"execute": "query-status"}' | jq -r .return.status; }

# vm_bytes NAME ADDRESS COUNT: bytes of guest memory as QEMU sees them, not as vmpoke does.
vm_bytes() {
	vm_hmp "$1" "x /$3xb $2" | sed 's/^[^:]*: //' | tr -d '\n' | sed 's/ *0x/ /g; s/^ //'
}

vm_kill() {
	local pid=${vm_pid[$1]-}
	[ -n "$pid" ] || return 0
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	unset "vm_pid[$1]"
}

# --- vmpoked and vmpoke ---

# daemon_start [VARIABLE=VALUE...]: our vmpoked, answering.
daemon_start() {
	mkdir -p "$work/state" "$work/run" "$work/keys.d"
	[ -e "$work/vmpoked.conf" ] || : >"$work/vmpoked.conf" # not this machine's own
	env "$@" setpriv --pdeathsig KILL "$build/vmpoked" --config "$work/vmpoked.conf" --keys-dir "$work/keys.d" --state-dir "$work/state" --runtime-dir "$work/run" \
		--foreground "${daemon_options[@]}" >>"$work/vmpoked.out" 2>>"$work/vmpoked.log" </dev/null &
	daemon_pid=$!
	until_ok 90 daemon_answers || why "vmpoked did not start: $(tail -n 1 "$work/vmpoked.log")"
}

daemon_answers() { [ -S "$sock" ] && "$build/vmpoke" -c "$sock" --json list >/dev/null 2>&1; }

daemon_stop() {
	[ -n "$daemon_pid" ] || return 0
	kill -TERM "$daemon_pid" 2>/dev/null
	until_ok 90 daemon_gone || why "vmpoked did not end within 90 s of SIGTERM" || return
	daemon_reap
}

daemon_gone() { ! kill -0 "$daemon_pid" 2>/dev/null; }

daemon_reap() {
	wait "$daemon_pid" 2>/dev/null
	daemon_pid=
}

# Workers that were killed, as vmpoked says; a client hears of a closed socket before.
worker_deaths() { grep -c 'the worker ended.*signal KILL' "$work/vmpoked.log"; }
worker_died() { [ "$(worker_deaths)" -gt "$1" ]; } # SINCE

daemon_kill() {
	kill -KILL "$daemon_pid" 2>/dev/null
	daemon_reap
}

# vp ARGS...: vmpoke. Sets OUT, ERR and RC; its status is vmpoke's.
vp() {
	OUT=$("$build/vmpoke" -c "$sock" "$@" 2>"$work/stderr" </dev/null)
	RC=$?
	ERR=$(<"$work/stderr")
	return $RC
}

# vp_ok ARGS...: vmpoke must succeed.
vp_ok() {
	vp "$@" || why "vmpoke $* exits $RC: $ERR"
}

# A member of the last JSON answer.
field() { jq -r "$1" <<<"$OUT"; }

verify_clean() { # VM
	vp_ok --json verify "$1" || return
	expect_eq "verify: ok" "$(field .ok)" true
}

lib_cleanup() {
	local status=$? name
	trap - EXIT
	for name in "${!vm_pid[@]}"; do
		vm_kill "$name"
	done
	[ -z "$daemon_pid" ] || daemon_kill
	if [ "$status" != 0 ] && [ -n "${VMPOKE_LOG_DIR-}" ]; then
		mkdir -p "$VMPOKE_LOG_DIR" && cp -r "$work"/* "$VMPOKE_LOG_DIR/" 2>/dev/null
	fi
	rm -rf "$work"
	exit "$status"
}
