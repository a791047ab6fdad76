# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see run.sh): boots a stock guest as a machine of our
# own, patches it under load, takes the daemon away in between. For busybox sh;
# everything it needs is in $RIG_FILES.
. "$RIG_FILES/host-lib.sh"
console=$dir/console.1

booted() { grep -q '^pgrp' "$console"; }
# The guest prints "pgrp VALUE COUNT" every second, a line for each value it saw.
last_is() { grep '^pgrp' "$console" | tail -n 1 | grep -q "^pgrp $1 "; }
shows() { within 10 last_is "$1" || { tail -n 3 "$console"; return 1; }; }
info_has() { vp --json info a | grep -q "$1" || { vp --json info a; return 1; }; }

# The emulated CPUs of lane n can miss a store (see there) until it is made again; a real CPU has one try.
changed() { # VERB VERB-BACK VALUE
	for try in $tries; do
		verb "$1" && shows "$3" && return
		echo "try $try missed" >>"$dir/missed"
		verb "$2" || return
	done
	return 1
}
verb() {
	if [ "$1" = apply ]; then vp apply a "$RIG_FILES/demo.yaml"; else vp revert a getpgrp-is-4242; fi
}
tries=1
[ "$RIG_LANE" != n ] || tries="1 2 3"

run_again() { # NUMBER
	console=$dir/console.$1
	boots machine_gone machine_run --append 'console=ttyS0 quiet panic=-1 vmtest=load'
}

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
daemon_start
check_boot "a stock guest boots in a machine" boots machine_gone machine_run \
	--append 'console=ttyS0 quiet panic=-1 vmtest=load vmtest=agent' --vcpus 2
check "run says what it started" sh -c "grep -qx 'started a (2 vCPUs, 256 MiB)' $dir/said || ! cat $dir/said"
own=$(sed -n 's/^pgrp \([0-9]*\) .*/\1/p' "$console" | head -n 1)
check "both vCPUs came up" sh -c "! grep -i 'failed to come\|not responding' $console"
check "probe finds the kernel" sh -c "vmpoke -c $sock --json probe a | grep -q '\"accel\": \"kvm\"'"
check "applied, and the running guest shows it" changed apply revert 4242
if zcat -f "$RIG_FILES/guest-initramfs" 2>/dev/null | grep -qa vmpoke-agent; then
	agent_found() { vp --json agent a | tee "$dir/agent" | grep -q '"state": "ready"' || { cat "$dir/agent"; return 1; }; }
	check "its agent is found at the machine's own port" within 90 agent_found
	echo "# $(tr ',' '\n' <"$dir/agent" | grep -E 'hello_us|round_trip_us' | tr '\n' ' ')"
	check "it was asked" sh -c "vmpoke -c $sock --json verify a | tee $dir/verify | grep -q '\"used\": true' || ! cat $dir/verify"
fi
kill -KILL $daemon_pid
wait $daemon_pid 2>/dev/null
lines=$(wc -l <"$console")
more() { [ "$(wc -l <"$console")" -gt "$lines" ]; }
check "the guest lives without a daemon" within 90 more
daemon_start
check "the next daemon finds it" within 90 info_has '"state": "running"'
check "and its patch" info_has '"patches": 1'
check "verify" vp verify a
check "reverted, and the running guest shows it" changed revert apply "$own"
check "no illegal value and no kernel complaint" sh -c "! grep -E 'ILLEGAL|KMSG' $console"
vp info a
check "patched once more" vp apply a "$RIG_FILES/demo.yaml"
check "destroyed with the patch in it" vp destroy a
check "and said so" info_has '"reason": "destroyed"'
kill $daemon_pid
wait $daemon_pid 2>/dev/null

# The worker, and the machine with it, dies in the middle of a transaction.
export VMPOKE_FAULT=journal-end:1
daemon_start
unset VMPOKE_FAULT
check "a new one in its place" run_again 2
check "the old patch went with the old machine" sh -c "vmpoke -c $sock --json status a | grep -q '\"state\": \"lost\"'"
check "the machine dies with its worker" sh -c "! vmpoke -c $sock apply a $RIG_FILES/demo.yaml"
check "and the reason is told" within 90 info_has 'killed by signal 9 and the machine with it'
kill $daemon_pid
wait $daemon_pid 2>/dev/null
daemon_start
check "a third one" run_again 3
check "its journal closes what the dead one began" sh -c "vmpoke -c $sock --json history a | grep -q '\"result\": \"lost\"'"
check "nothing is applied" info_has '"patches": 0'
check "applied to the third" vp apply a "$RIG_FILES/demo.yaml"
vp history a
check "destroyed at last" vp destroy a
check "removed" vp remove a
lane_figures
[ $failed = 0 ] || cat "$dir/daemon.log"
kill $daemon_pid
wait
exit $failed
