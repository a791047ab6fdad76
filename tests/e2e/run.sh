#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Machines of our own: started, found again by the next daemon, ended, and every
# start that must be refused. On this machine's /dev/kvm with bare guests, which any
# KVM runs; then a stock Debian guest on a host made for it (tests/rig, lane n, or
# this one when it can): run-host.sh is the part that runs there.
# Alone: the emulated CPUs of lane n are slow and lose stores as it is (tests/rig/lane-n.sh).
. "$(dirname "$0")/../lib.sh"
beat=$guest_dir/beat.elf bye=$guest_dir/bye.elf
kernel=$beat
trap 'status=$?; machines_end; (exit $status); lib_cleanup' EXIT

# Machines outlive the daemon, so also this script: their processes are ended by number,
# after a look whether the number is still theirs.
machines_end() {
	local pid
	for pid in $(cat "$work/pids" 2>/dev/null); do
		! grep -qaF "$work" "/proc/$pid/cmdline" 2>/dev/null || kill -KILL "$pid" 2>/dev/null
	done
}

# start NAME [ARGUMENTS...]
start() {
	vp_ok --json run "$1" --kernel "$kernel" --console "$work/$1.console" "${@:2}" || return
	pid=$(field .pid)
	echo "$pid" >>"$work/pids"
}

is_state() { vp --json info "$1" && [ "$(field .state)" = "$2" ]; }
lines() { wc -l <"$work/$1.console"; }
grown() { [ "$(lines "$1")" -gt "$2" ]; }
beats() { until_ok 90 grown "$1" "$(lines "$1")" || why "the guest of $1 prints nothing any more"; }
said() { grep -q "$2" "$work/$1.console"; }
# Nobody may be there to reap it. With a leader that is a zombie, the other threads still keep
# its files open: the socket of a machine whose vCPUs are not out yet takes connections.
process_gone() { ! grep -hs ^State: "/proc/$1"/task/*/status | grep -qv 'Z (zombie)'; }

refused() { # EXIT CODE, PATTERN, vmpoke arguments...
	local code=$1 pattern=$2
	shift 2
	vp "$@"
	expect_eq "exit code of vmpoke $*" "$RC" "$code" || why "$WHY ($ERR)" || return
	grep -qE -- "$pattern" <<<"$ERR" || why "the sentence is: $ERR"
}

started() {
	vp_ok run a --kernel "$kernel" --vcpus 2 --memory 64M --console "$work/a.console" || return
	expect_eq answer "$OUT" "started a (2 vCPUs, 64 MiB)" || return
	vp_ok --json info a || return
	pid=$(field .pid)
	echo "$pid" >>"$work/pids"
	expect_eq state "$(field .state)" running || return
	expect_eq "kind, accel, vcpus and memory" "$(field '"\(.kind) \(.accel) \(.vcpus) \(.memory)"')" \
		"machine kvm 2 67108864" || return
	expect_eq kernel "$(field .kernel)" "$(readlink -f "$kernel")" || return
	until_ok 90 said a UP || why "the guest does not print" || return
	beats a || return
	vp_ok list || return
	grep -q '^a	running	2	kvm' <<<"$OUT" || why "list says: $OUT"
}

# It is not Linux: said so, and it runs on.
bare_guest_asked() {
	vp probe a
	[ "$RC" != 0 ] || why "a kernel was found in a guest without one" || return
	vp_ok status a || return
	is_state a running || why "the state is $OUT" || return
	beats a
}

# It has no driver; the host's side of a disk is what shows.
disks() {
	local pid
	truncate -s 1M "$work/disk0" "$work/disk1"
	start d --disk "$work/disk0" --disk "$work/disk1,ro" || return
	is_state d running || why "the state is $OUT" || return
	refused 5 "in use by another machine" run x --kernel "$kernel" --disk "$work/disk0" || return
	start d2 --disk "$work/disk1,ro" || return # readers may share
	truncate -s 100 "$work/short"
	refused 2 "at least one sector" run x --kernel "$kernel" --disk "$work/short" || return
	refused 2 "is not a file or block device" run x --kernel "$kernel" --disk /dev/null || return
	vp_ok destroy d && vp_ok destroy d2 || return
	start d --disk "$work/disk0" && vp_ok destroy d && vp_ok remove d && vp_ok remove d2
}

refusals() {
	echo "no kernel at all" >"$work/text"
	refused 2 "No such file" run x --kernel "$work/missing" || return
	refused 1 "is not a bzImage or an ELF64 image" run x --kernel "$work/text" || return
	refused 2 "is not a file" run x --kernel "$work" || return
	refused 2 "no value for option '--memory'" run x --kernel "$kernel" --memory 12Q || return
	refused 2 "no value for option '--vcpus'" run x --kernel "$kernel" --vcpus 65 || return
	refused 2 "memory" run x --kernel "$kernel" --memory 1M || return
	refused 2 "multiple of 4096" run x --kernel "$kernel" --memory 67108865 || return
	refused 2 "needs --kernel" run x || return
	refused 2 "'name' must begin" run .x --kernel "$kernel" || return
	refused 5 "running already" run a --kernel "$kernel" || return
	refused 5 "destroy a' first" remove a || return
	refused 5 "machine of vmpoke's own" add a --qmp /nowhere/qmp || return
	refused 4 "no VM named 'x'" info x || return
	[ ! -e "$work/state/vms/x.json" ] && [ ! -e "$work/run/x.vm" ] || why "something is left of x"
}

# root's own path is fine, nobody's is not: vmpoked would open it with rights nobody has not.
foreign_path() {
	local as=(setpriv --reuid 65534 --regid "$(id -g)" --clear-groups) request
	request=$(jq -cn --arg k "$kernel" '{execute: "vm-run", arguments: {name: "x", kernel: $k}}')
	chmod 755 "$work"
	"${as[@]}" "$build/vmpoke" -c "$sock" qmp "$request" >"$work/out" 2>&1
	[ $? = 5 ] || why "exit code is not 5: $(<"$work/out")" || return
	grep -q "getfd" "$work/out" || why "the sentence is: $(<"$work/out")" || return
	cp "$kernel" "$work/public.elf"
	chmod 644 "$work/public.elf"
	"${as[@]}" "$build/vmpoke" -c "$sock" --json run foreign --kernel "$work/public.elf" >"$work/out" 2>&1 ||
		why "a file passed by its user is refused: $(<"$work/out")" || return
	jq -r .pid "$work/out" >>"$work/pids"
	vp_ok destroy foreign || return
	vp_ok remove foreign
}

daemon_killed() {
	daemon_kill
	beats a || return
	daemon_start || return
	until_ok 90 is_state a running || why "the next daemon says: $OUT $ERR" || return
	expect_eq "process" "$(field .pid)" "$pid" || return
	beats a
}

daemon_stopped() {
	daemon_stop || return
	beats a || return
	daemon_start || return
	until_ok 90 is_state a running || why "the next daemon says: $OUT $ERR" || return
	expect_eq "process" "$(field .pid)" "$pid"
}

destroyed() {
	vp_ok destroy a || return
	process_gone "$pid" || why "its process is still there" || return
	vp_ok --json info a || return
	expect_eq "state and reason" "$(field '"\(.state) \(.reason)"')" "shutdown destroyed" || return
	refused 1 "shut down: destroyed" probe a || return
	vp_ok --json destroy a || return
	expect_eq "changed by a second destroy" "$(field .changed)" false
}

# An adopted machine and a child of the daemon, killed; the second while no daemon is there.
worker_killed() {
	local how=$1
	start a --memory 64M || return
	if [ "$how" = adopted ]; then
		daemon_kill
		daemon_start || return
		until_ok 90 is_state a running || why "not adopted: $OUT" || return
	elif [ "$how" = unseen ]; then
		daemon_kill
	fi
	kill -KILL "$pid"
	until_ok 90 process_gone "$pid" || why "it does not die" || return
	[ "$how" != unseen ] || daemon_start || return
	until_ok 90 is_state a shutdown || why "the state is $OUT" || return
	grep -qE "$2" <<<"$(field .reason)" || why "the reason is: $(field .reason)" || return
	daemon_stop && daemon_start || return
	vp_ok --json info a || return
	grep -qE "$2" <<<"$(field .reason)" || why "after a restart the reason is: $(field .reason)"
}

guest_ends() {
	kernel=$bye start b --memory 64M || return
	until_ok 90 is_state b shutdown || why "the state is $OUT" || return
	expect_eq "what it printed" "$(tr '\n' ' ' <"$work/b.console")" "UP beat beat beat " || return
	expect_eq reason "$(field .reason)" "exit 0" || return
	daemon_kill
	daemon_start || return
	until_ok 90 is_state b shutdown || why "after a restart: $OUT" || return
	expect_eq "reason after a restart" "$(field .reason)" "exit 0" || return
	kernel=$bye start b --memory 64M || why "a new one in its place: $WHY" || return
	until_ok 90 is_state b shutdown || return
	vp_ok remove b || return
	process_gone "$pid" || why "its process is still there" || return
	vp info b
	expect_eq "exit code of info" "$RC" 4
}

two_at_once() {
	start c --memory 64M || return
	start d --memory 64M --vcpus 2 || return
	until_ok 90 said c UP && until_ok 90 said d UP || why "one of them does not print" || return
	vp_ok destroy c || return
	beats d || return
	vp_ok remove c || return
	vp_ok destroy d && vp_ok remove d
}

no_access() {
	local dir=$work/nobody as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	mkdir -p "$dir" && chown 65534 "$dir" || return
	"${as[@]}" setpriv --pdeathsig KILL "$build/vmpoked" --state-dir "$dir/state" --runtime-dir "$dir/run" --foreground \
		2>"$dir/log" &
	local daemon=$!
	until_ok 90 test -S "$dir/run/control.sock"
	OUT=$("$build/vmpoke" -c "$dir/run/control.sock" run x --kernel "$work/public.elf" 2>&1)
	RC=$?
	kill $daemon
	wait $daemon 2>/dev/null
	expect_eq "exit code" $RC 1 || why "$WHY ($OUT)" || return
	grep -q "/dev/kvm: Permission denied" <<<"$OUT" || why "the sentence is: $OUT"
}

if [ -w /dev/kvm ]; then
	daemon_start || { not_ok "vmpoked starts" "$WHY"; finish; }
	run_case "a machine is started and shown" started
	[ $failures = 0 ] || finish
	run_case "a guest without a kernel is told" bare_guest_asked
	run_case "disks" disks
	run_case "refused starts" refusals
	if [ "$(id -u)" = 0 ]; then
		run_case "files of another user" foreign_path
	else
		skip "files of another user" "needs root to be another user"
	fi
	run_case "daemon killed, machine lives and is found" daemon_killed
	run_case "daemon stopped, machine lives and is found" daemon_stopped
	run_case "destroyed" destroyed
	run_case "worker killed" worker_killed child "killed by signal 9 and the machine with it"
	run_case "worker of an adopted machine killed" worker_killed adopted "its worker ended and the machine with it"
	run_case "worker killed while no daemon is there" worker_killed unseen "while no vmpoked was there"
	run_case "the guest ends by itself" guest_ends
	run_case "two machines" two_at_once
	run_case "daemon stops" daemon_stop
	if [ "$(id -u)" = 0 ] && [ "$(stat -c %a /dev/kvm)" != 666 ]; then
		run_case "no access to /dev/kvm" no_access
	else
		skip "no access to /dev/kvm" "everybody has it here, or this is not root"
	fi
else
	skip "bare machines" "no usable /dev/kvm"
fi

lane=n
! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || lane=native
# With the modules of its kernel the guest can have an agent at its machine's port.
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") && image=$(echo "$guest"/boot/vmlinuz-*) ||
	image=$(kernel_image 6.1 2>>"$work/fetch.log") || { skip "stock guest" "the kernel cannot be had"; finish; }
cp "$image" "$work/guest-kernel"
cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
add_agent() {
	local tree=$work/tree n=10 module
	mkdir -p "$tree/bin" "$tree/mod" && cp "$root/build/vmpoke-agent" "$tree/bin/" || return
	for module in virtio_ring virtio virtio_mmio virtio_console; do
		cp "$(find "$guest/lib/modules" -name "$module.ko")" "$tree/mod/$((n++))-$module.ko" || return
	done
	(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1) >>"$work/guest-initramfs"
}
[ -n "$guest" ] && add_agent || skip "the agent at a machine's own port" "no guest kernel with modules, or no agent was built"
"$root/tests/rig/run" $lane --memory 1536 --timeout 400 "$root/tests/e2e/run-host.sh" "$work/guest-kernel" \
	"$work/guest-initramfs" "$root/tests/demo.yaml" "$root/tests/e2e/host-lib.sh" "$build/vmpoked" "$build/vmpoke-vm" "$build/vmpoke" \
	>"$work/out" 2>"$work/rig.log"
status=$?
cat "$work/out" "$work/rig.log"
if [ $status = 77 ]; then
	skip "stock guest" "$(tail -n 1 "$work/rig.log")"
elif grep -q '^not ok' "$work/out"; then
	failures=1
elif [ $status != 0 ]; then
	not_ok "stock guest, lane $lane" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
finish
