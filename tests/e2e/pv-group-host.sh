# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see pv-group.sh). For busybox sh; everything it needs is in
# $RIG_FILES.
#   switches=N: how often more the locks are switched by command line, both ways counted
#   vcpus=N, many=N: of another guest, and how often it is switched by pv-switch then
#   careless=N: of those that wait for nobody, at most; 0: none
#   full=N: not 0: which slow path is taken is counted, targets are named, and the text is flipped, too
. "$RIG_FILES/host-lib.sh"
cd "$dir" || exit 1

booted() { grep -q '^locks' "$console"; }
is_paravirt() { grep -o 'PV spinlocks [a-z]*.*' "$console"; has 'PV spinlocks enabled' "$console"; }

# The slowest of the threads has got further.
slowest() { tr -d '\r' <"$console" | sed -n 's/^locks [0-9]* \([0-9]*\)$/\1/p' | tail -n 1; }
further() { [ "$(slowest)" -gt "$was" ]; }
all_go_on() {
	was=$(slowest)
	within 300 further || { echo "a thread does not get on from $was: $(tail -n 2 "$console")"; return 1; }
}
no_complaint() {
	! grep -E 'KMSG|ILLEGAL|soft lockup|hard LOCKUP|detected stall|self-detected|Call Trace' "$console"
}

# Which slow path is taken: hits of each while the threads fight.
hits() { vp --json count a "$1" --seconds 2 >counted || return; sed -n 's/.*"hits": \([0-9]*\).*/\1/p' counted; }
uses() { # TAKEN NOT
	taken=$(hits "$1") && not=$(hits "$2") || { cat counted; return 1; }
	echo "$1: $taken, $2: $not"
	[ "$taken" -gt 0 ] && [ "$not" = 0 ]
}
native=native_queued_spin_lock_slowpath pv=__pv_queued_spin_lock_slowpath

switch() { # VERB [FILE [OPTION...]]
	verb=$1 file=${2-native}.yaml
	[ $# -lt 3 ] && set -- || shift 2
	vp --json $verb a $file --timeout 300 "$@" >answer 2>&1 || { cat answer; return 1; }
	has '"changed": true' answer || return
	sed -n 's/.*"retries": \([0-9]*\), "longest_pause_us": \([0-9]*\), "elapsed_us": \([0-9]*\).*/\1 \2 \3/p' answer >>figures
}
more() {
	for n in $(seq $((switches / 2))); do
		switch apply && all_go_on && switch revert && all_go_on || return
	done
}
checked() {
	vp --json check a native.yaml >answer || { cat answer; return 1; }
	has '"mode": "stopped"' answer && has '"state": "applicable"' answer && has 'pv_ops' answer
}
goes() { switch "$@" && vp verify a && all_go_on; } # VERB [FILE [OPTION...]]
is_already() { # paravirt is what the guest is
	vp --json apply a paravirt.yaml >answer || { cat answer; return 1; }
	has '"changed": false' answer
}

flip_both() { switch apply native --mode flipped && has '"mode": "flipped"' answer && all_go_on && goes revert; }
# Another target for one of them: the slow path, then with the unlock that looks for halted waiters; the hint, for which nobody is waited.
given() {
	goes apply slowpath && switch revert slowpath || return
	switch apply hint && switch revert hint && all_go_on
}
no_kick() { # an unlock that wakes nobody, for waiters that halt
	vp --json apply a unlock.yaml >answer 2>&1
	[ $? = 5 ] && has 'goes with the unlock that wakes them' answer
}
not_held() {
	vp --json apply a native.yaml --mode held >answer 2>&1
	[ $? = 5 ] && has "mode 'held' is not possible" answer
}

patch() { # NAME KEYS
	cat >$1.yaml <<-YAML
		vmpoke: 1
		name: $1-locks
		sites:
		  - { at: pv_ops, kind: pv_group, group: lock, choose: $2 }
	YAML
}
patch native native
patch paravirt paravirt
patch slowpath "targets, queued_spin_lock_slowpath: $native"
patch hint "targets, vcpu_is_preempted: __raw_callee_save___native_vcpu_is_preempted"
patch unlock "targets, queued_spin_unlock: __raw_callee_save___native_queued_spin_unlock"
[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
daemon_start
check_boot "a stock guest boots in a machine" boots machine_gone machine_run --vcpus 4 \
	--append "console=ttyS0 panic=-1 vmtest=locks"
check "its spinlocks are paravirt ones" is_paravirt
[ $failed = 0 ] || exit 1
check "paravirt is what it is" is_already
check "the plan" checked
echo "# $(sed -n 's/.*"sites": \([0-9]*\).*/\1/p' answer) sites: text, pointers and feature bits"
check "made native while the threads fight" goes apply
[ "$full" = 0 ] || check "the native slow path is taken" uses $native $pv
check "made paravirt again while the threads fight" goes revert
[ "$full" = 0 ] || check "the paravirt slow path is taken" uses $pv $native
check "the native unlock alone is refused" no_kick
check "held is refused" not_held
[ "$full" = 0 ] || check "targets that are named" given
[ "$full" = 0 ] || check "flipped, with the data in the pause" flip_both
[ "$switches" = 0 ] || check "more switches, every thread goes on after each" more
echo "# of $(wc -l <figures) switches: retries, pause and time in us, median $(sort -n -k 3 figures | sed -n "$((($(wc -l <figures) + 1) / 2))p"), longest $(sort -n -k 3 figures | tail -n 1)"
check "the text is as it was" vp verify a
check "no lockup, no complaint, every sum right" no_complaint
check "destroyed" vp destroy a
[ $failed = 0 ] || { tail -n 5 daemon.log; tail -n 20 "$console"; }
kill "$daemon_pid"
wait

# Another guest, as it is spoiled in the end: switches that wait for nobody have to lose a kick, or those before show
# nothing. On one CPU: with a CPU for each vCPU hardly any waiter halts.
console=$dir/console.many
taskset 1 pv-switch "$RIG_FILES/guest-kernel" "$RIG_FILES/guest-initramfs" "$vcpus" 256 "$console.all" "$many" 300 \
	"console=ttyS0 panic=-1 vmtest=locks" "$careless" >many
status=$?
grep '^#' many | tail -n 3
head -c "$(sed -n 's/^# console: \([0-9]*\) bytes.*/\1/p' many)" "$console.all" >"$console"
if [ $status = 0 ]; then
	echo "ok $many switches, $vcpus vCPUs, nobody in a queue at any$([ "$careless" = 0 ] || echo ", and careless ones lose a kick")"
	check "no lockup, no complaint, every sum right, $vcpus vCPUs" no_complaint
else
	echo "not ok $many switches, $vcpus vCPUs: $(tail -n 1 many)"
	tail -n 20 "$console.all"
	failed=1
fi
grep '^locks' "$console" | tail -n 1 | sed 's/^/# /'
exit $failed
