# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see pv-group.sh). For busybox sh; everything it needs is in
# $RIG_FILES.
#   switches=N: how often the locks are switched by command line, both ways counted
#   many=N: how often by pv-switch then, with 8 vCPUs; 0: not at all
. "$RIG_FILES/host-lib.sh"
cd "$dir" || exit 1

booted() { grep -q '^locks' "$console"; }
is_paravirt() { grep -o 'PV spinlocks [a-z]*.*' "$console"; has 'PV spinlocks enabled' "$console"; }

# The slowest of the threads has got further.
slowest() { tr -d '\r' <"$console" | sed -n 's/^locks [0-9]* \([0-9]*\)$/\1/p' | tail -n 1; }
further() { [ "$(slowest)" -gt "$was" ]; }
all_go_on() {
	was=$(slowest)
	within 90 further || { echo "a thread does not get on from $was: $(tail -n 2 "$console")"; return 1; }
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

switch() { # VERB
	vp --json "$1" a native.yaml --timeout 120 >answer 2>&1 || { cat answer; return 1; }
	has '"changed": true' answer || return
	sed -n 's/.*"retries": \([0-9]*\), "longest_pause_us": \([0-9]*\), "elapsed_us": \([0-9]*\).*/\1 \2 \3/p' answer >>figures
}
more() {
	for n in $(seq $((switches / 2 - 1))); do
		switch apply && all_go_on && switch revert && all_go_on || return
	done
}
checked() {
	vp --json check a native.yaml >answer || { cat answer; return 1; }
	has '"mode": "stopped"' answer && has '"state": "applicable"' answer && has 'pv_ops' answer
}
goes() { switch "$1" && vp verify a && all_go_on; } # VERB
is_already() { # paravirt is what the guest is
	vp --json apply a paravirt.yaml >answer || { cat answer; return 1; }
	has '"changed": false' answer
}

for choice in native paravirt; do
	cat >$choice.yaml <<-YAML
		vmpoke: 1
		name: $choice-locks
		sites:
		  - { at: pv_ops, kind: pv_group, group: lock, choose: $choice }
	YAML
done
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
[ "$many" = 0 ] || check "the native slow path is taken" uses $native $pv
check "made paravirt again while the threads fight" goes revert
[ "$many" = 0 ] || check "the paravirt slow path is taken" uses $pv $native
check "more switches, every thread goes on after each" more
echo "# of $(wc -l <figures) switches: retries, pause and time in us, median $(sort -n -k 3 figures | sed -n "$((($(wc -l <figures) + 1) / 2))p"), longest $(sort -n -k 3 figures | tail -n 1)"
check "the text is as it was" vp verify a
check "no lockup, no complaint, every sum right" no_complaint
check "destroyed" vp destroy a
[ $failed = 0 ] || { tail -n 5 daemon.log; tail -n 20 "$console"; }
kill "$daemon_pid"
wait

if [ "$many" != 0 ]; then
	console=$dir/console.many
	pv-switch "$RIG_FILES/guest-kernel" "$RIG_FILES/guest-initramfs" 8 256 "$console" "$many" 120 \
		"console=ttyS0 panic=-1 vmtest=locks" >many
	[ $? = 0 ] && echo "ok $many switches, 8 vCPUs" || { echo "not ok $many switches, 8 vCPUs: $(tail -n 1 many)"; failed=1; }
	grep '^#' many | tail -n 1
	grep '^locks' "$console" | tail -n 1 | sed 's/^/# /'
	check "no lockup, no complaint, every sum right, 8 vCPUs" no_complaint
fi
exit $failed
