# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts that run on a host made by tests/rig have in common: they read it
# from $RIG_FILES. For busybox sh.
dir=$(mktemp -d)
# shellcheck disable=SC2034 # whoever reads this file ends with it
failed=0
console=$dir/console # of the guest; may be set to another one

check() { # NAME COMMAND...
	name=$1
	shift
	if "$@" >"$dir/last" 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name: $(tail -n 1 "$dir/last")"
		failed=1
	fi
}

within() { # SECONDS COMMAND...
	n=$(($1 * 5))
	shift
	until "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.2
	done
}

# The evidence when a guest does not come up, which costs everything after it: named once, and the script ends.
check_boot() { # NAME COMMAND...
	check "$@"
	[ $failed = 0 ] || { lane_figures; evidence; exit 1; }
}
evidence() {
	vp info a 2>/dev/null | grep -E '^ *(state|reason):' | sed 's/^/# /'
	for file in "$dir"/console* "$dir"/*.log; do
		[ ! -s "$file" ] || { echo "# ${file##*/}:"; tail -n 15 "$file" | tr -d '\r' | sed 's/^/#   /'; }
	done
	sed -n '/kvm_exit:/s/^ */# host: /p' $tracing/trace 2>/dev/null
}

# KVM for AMD forgets where a vCPU was when it reports a triple fault; the host's own trace of that exit does not.
tracing=/sys/kernel/tracing
if [ "$RIG_LANE" = n ] && mount -t tracefs tracefs $tracing 2>/dev/null; then
	echo 'exit_reason == 0x7f' >$tracing/events/kvm/kvm_exit/filter # SVM_EXIT_SHUTDOWN
	echo 1 >$tracing/events/kvm/kvm_exit/enable
fi

# A guest of ours that nothing was written to yet. The emulated CPUs of lane n have lost a boot (see there): it is
# tried again there, twice at most, counted and shown. Anywhere else, and a third time, it is a failure.
# COMMAND ends with 2 when the guest was started and did not come up; with 1 when it was not started.
boots() { # UNDO COMMAND...
	undo=$1
	shift
	for boot in $boot_tries; do
		"$@"
		status=$?
		[ $status = 2 ] && [ "$boot" != last ] || return $status
		boot_lost
		"$undo"
	done
}
boot_tries=last
[ "$RIG_LANE" != n ] || boot_tries="1 2 last"
boot_lost() {
	echo x >>"$dir/lost"
	{ echo "# lost boot $(wc -l <"$dir/lost"):"; evidence; } >>"$dir/lost-evidence"
}
# At the end: what was tried again because of the lane's CPUs.
lane_figures() {
	[ ! -e "$dir/lost" ] || { echo "# boots the emulated CPUs lost: $(wc -l <"$dir/lost")"; cat "$dir/lost-evidence"; }
	[ ! -e "$dir/missed" ] || echo "# stores the emulated CPUs missed: $(wc -l <"$dir/missed")"
}

# A machine that ended needs no waiting for.
up() { booted || vp --json info a | grep -qE '"state": "(shutdown|broken)"'; }
came_up() { within "${boot_limit:-90}" up && booted || { tail -n 3 "$console"; vp info a | grep -E '^ *(state|reason):'; return 2; }; }

# The daemon's folders, and vmpoke on its socket.
sock=$dir/run/control.sock
mkdir "$dir/run" "$dir/state"
vp() { vmpoke -c "$sock" "$@"; }
answers() { vp list >/dev/null 2>&1; }
daemon_start() {
	vmpoked --state-dir "$dir/state" --runtime-dir "$dir/run" --foreground 2>>"$dir/daemon.log" &
	# shellcheck disable=SC2034
	daemon_pid=$!
	within 60 answers
}

# A stock guest as a machine of our own, named a.
machine_run() { # ARGUMENTS...
	vp run a --kernel "$RIG_FILES/guest-kernel" --initrd "$RIG_FILES/guest-initramfs" --memory 256M --console "$console" \
		"$@" >"$dir/said" || return 1
	came_up
}
machine_gone() {
	vp destroy a
	rm -f "$console"
}

# has TEXT [FILE]: in the last answer.
has() {
	grep -q -e "$1" "${2:-answer}" || { echo "no $1 in: $(head -c 600 "${2:-answer}")"; return 1; }
}
