# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see pv-group.sh). For busybox sh; everything it needs is in
# $RIG_FILES.
#   switches=N: how often the locks are switched, both ways counted
. "$RIG_FILES/host-lib.sh"
cd "$dir" || exit 1

answers() { vp list >/dev/null 2>&1; }
booted() { grep -q '^locks' console; }
boots() {
	vmpoked --state-dir "$dir/state" --runtime-dir "$dir/run" --foreground 2>>daemon.log &
	daemon_pid=$!
	within 10 answers || return
	vp run a --kernel "$RIG_FILES/guest-kernel" --initrd "$RIG_FILES/guest-initramfs" --vcpus 4 --memory 256M \
		--append "console=ttyS0 panic=-1 vmtest=locks" --console "$dir/console" || return
	within 90 booted || { tail -n 3 console; return 1; }
}
has() { grep -q -e "$1" "$2" || { echo "no $1 in: $(head -c 400 "$2")"; return 1; }; }
is_paravirt() { grep -o 'PV spinlocks [a-z]*.*' console; has 'PV spinlocks enabled' console; }

# The slowest of the threads has got further.
slowest() { tr -d '\r' <console | sed -n 's/^locks [0-9]* \([0-9]*\)$/\1/p' | tail -n 1; }
further() { [ "$(slowest)" -gt "$was" ]; }
all_go_on() {
	was=$(slowest)
	within 60 further || { echo "a thread does not get on from $was: $(tail -n 2 console)"; return 1; }
}
no_complaint() {
	! grep -E 'KMSG|ILLEGAL|soft lockup|hard LOCKUP|detected stall|self-detected|Call Trace' console
}

# Which slow path is taken: hits of each while the threads fight.
hits() { vp --json count a "$1" --seconds 3 >counted || return; sed -n 's/.*"hits": \([0-9]*\).*/\1/p' counted; }
uses() { # TAKEN NOT
	taken=$(hits "$1") && not=$(hits "$2") || { cat counted; return 1; }
	echo "$1: $taken, $2: $not"
	[ "$taken" -gt 0 ] && [ "$not" = 0 ]
}
native=native_queued_spin_lock_slowpath pv=__pv_queued_spin_lock_slowpath

switch() { # VERB
	vp --json "$1" a native.yaml --timeout 60 >answer || return
	has '"changed": true' answer || return
	sed -n 's/.*"retries": \([0-9]*\), "longest_pause_us": \([0-9]*\), "elapsed_us": \([0-9]*\).*/\1 \2 \3/p' answer >>figures
}
many() {
	n=0
	while [ $n -lt "$switches" ]; do
		switch apply || return
		switch revert || return
		n=$((n + 2))
		[ $((n % 10)) != 0 ] || all_go_on || return
	done
}
checked() {
	vp --json check a native.yaml >answer || { cat answer; return 1; }
	has '"mode": "stopped"' answer && has '"state": "applicable"' answer
	has 'pv_ops' answer
}
made_native() { switch apply && vp verify a && all_go_on && uses $native $pv; }
made_paravirt() { switch revert && vp verify a && all_go_on && uses $pv $native; }
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
check "a stock guest boots in a machine" boots
[ $failed = 0 ] || { cat daemon.log; exit 1; }
check "its spinlocks are paravirt ones" is_paravirt
[ $failed = 0 ] || exit 1
check "the paravirt slow path is taken" uses $pv $native
check "paravirt is what it is" is_already
check "the plan" checked
echo "# $(sed -n 's/.*"sites": \([0-9]*\).*/\1/p' answer) sites: text, pointers and feature bits"
check "made native under load" made_native
check "made paravirt again under load" made_paravirt
check "$switches switches under load" many
echo "# of $(wc -l <figures) switches: retries, pause and time in us, median $(sort -n -k 3 figures | sed -n "$(($(wc -l <figures) / 2))p"), longest $(sort -n -k 3 figures | tail -n 1)"
check "every thread goes on" all_go_on
check "the text is as it was" vp verify a
check "no lockup, no complaint" no_complaint
check "destroyed" vp destroy a
[ $failed = 0 ] || { cat daemon.log; tail -n 20 console; }
kill "$daemon_pid"
wait
exit $failed
