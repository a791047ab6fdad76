#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What each mode costs vCPUs elsewhere, by KVM's own counter, inside a throw-away host
# with two CPUs: give this and stress.static to tests/rig/run (tests/e2e/slow/exits.sh
# does). One result line per mode. Needs a shell, sed, timeout.
bad=0 out=/tmp/exits.out traps=int3
[ "${RIG_LANE:-}" != n ] || traps=hw

for mode in flipped staged held stopped; do
	name="$mode, exits forced on a vCPU elsewhere"
	timeout 600 stress.static --count-exits --mode $mode --traps $traps --json >$out 2>&1
	status=$?
	sed 's/^/# /' $out
	figures=$(sed -n 's/.*"batches": //p' $out | tr '{' '\n' |
		sed -n 's/.*"sites": \([0-9]*\),.*"low": \([0-9]*\), "median": \([0-9]*\),.*/\1 sites \2 (median \3),/p' | tr '\n' ' ')
	case $status in
	0) echo "ok $name: ${figures}halted none" ;;
	77) echo "skip $name: $(tail -n 1 $out)" ;;
	*)
		echo "not ok $name: exit status $status: $figures $(grep '^stress:' $out | tail -n 1)"
		bad=1
		;;
	esac
done
exit $bad
