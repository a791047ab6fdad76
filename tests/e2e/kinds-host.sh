# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see kinds-kvm.sh): a stock guest as a machine of our own, patched with each kind in
# the modes open to it, while it says all the time what its kernel answers. For busybox sh; everything
# it needs is in $RIG_FILES.
. "$RIG_FILES/host-lib.sh"
. "$RIG_FILES/kinds-host-lib.sh"
cd "$dir" || exit 1

append=vmtest=report
booted() { grep -q '^SEEN' "$console"; }

# The guest's newest line; it had the time to say it anew after what was done.
seen() { grep '^SEEN' "$console" | tail -n 1; }
says() {
	[ "$(grep -c '^SEEN' "$console")" -gt "$((lines + 1))" ] || return
	case $1 in
	!*) ! seen | grep -q -e "${1#!}" ;;
	*) seen | grep -q -e "$1" ;;
	esac
}
shows() { # TEXT, or "!" and what is not to be said
	lines=$(grep -c '^SEEN' "$console")
	within 60 says "$1" || { echo "the guest says: $(seen)"; return 1; }
}

# kind MODE NAME ACTS AFTER: in, seen, out, seen. The emulated CPUs of lane n can miss a store until it is made again.
kind() {
	for try in $tries; do
		# shellcheck disable=SC2046
		vp --json apply a "$2.yaml" $(wish "$1") --timeout 60 >answer 2>&1 || { cat answer; return 1; }
		has "\"mode\": \"$1\"" && has '"changed": true' && vp verify a || return
		shows "$3"
		acted=$?
		# shellcheck disable=SC2046
		vp --json revert a "$2" $(wish "$1") --timeout 60 >answer 2>&1 || { cat answer; return 1; }
		has '"changed": true' && [ $acted = 0 ] && shows "$4" && return
		echo x >>missed
	done
	return 1
}
tries=1
[ "$RIG_LANE" != n ] || tries="1 2 3"

refused() { # WORDS vmpoke arguments...
	words=$1
	shift
	vp "$@" >answer 2>&1
	[ $? = 5 ] && has "$words"
}

told() { [ "$(grep -c '^USED\|^UNUSED' "$console")" -gt "$uses" ]; }
own_use() {
	uses=$(grep -c '^USED\|^UNUSED' "$console")
	vp apply a bell.yaml --timeout 60 >answer 2>&1 || { cat answer; return 1; }
	within 300 told
	told=$?
	vp revert a bell --timeout 60 >answer 2>&1 || { cat answer; return 1; }
	[ $told = 0 ] || { echo "the guest does not say"; return 1; }
	! grep '^UNUSED' "$console" || return 1
	shows "pgrp own priority 99 schedstats 0 renames some"
}

# The agent's thread may have left the payload's address on its stack when it asked for it, where it looks like
# somebody inside; what is kept is tried again with every change.
function_acts() { # MODE
	for again in 1 2 3 4 5; do
		kind "$1" function "pgrp 4343" "pgrp own" && break
		# A guest that gets no CPU time for seconds: nothing was changed.
		grep -q 'did not answer .* in time' answer && [ $again -lt 5 ] || return 1
	done
	for again in 1 2 3 4 5; do
		! grep -q 'task stack of vmpoke-agent ' answer || kept
	done
	has '"state": "freed"'
}
kept() {
	vp apply a nop.yaml >/dev/null && vp --json revert a nop >answer
}

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
daemon_start
check_boot "a stock guest boots in a machine" boots machine_gone machine
check "its agent is there" within 120 is_ready
check "the traps of this KVM" find_traps
echo "# traps: $traps"
check "a patch of each kind" write_patches
[ $failed = 0 ] || { evidence; exit 1; }
patch jump "at: __do_sys_getpgrp, kind: jump, to: __x64_sys_getuid"
for mode in flipped staged held stopped; do
	check "immediate, $mode" kind "$mode" immediate "priority 77" "priority 99"
	check "bytes, $mode" kind "$mode" bytes "priority 55" "priority 99"
	check "jump, $mode" kind "$mode" jump "pgrp 0" "pgrp own"
	check "nop, $mode" kind "$mode" nop "!priority 99" "priority 99"
	check "alternative, $mode" kind "$mode" alternative "pgrp own" "pgrp own"
	check "function, $mode" function_acts "$mode"
done
# Several instructions: with traps in debug registers there would have to be one on each.
for mode in flipped stopped; do
	check "return, $mode" kind $mode return "pgrp 4242" "pgrp own"
done
check "static_key, stopped" kind stopped static-key "schedstats 1" "schedstats 0"
check "static_call, stopped" kind stopped static-call "renames none" "renames some"
check "static_key is refused in mode flipped" refused "mode 'flipped' is not possible" apply a static-key.yaml --mode flipped
check "the guest's own use of it all afterwards" own_use
check "no complaint of its kernel" sh -c "! grep -E 'KMSG|Kernel panic|ILLEGAL' $console"
lane_figures
[ $failed = 0 ] || { evidence; tail -n 60 daemon.log; }
vp destroy a >/dev/null
exit $failed
