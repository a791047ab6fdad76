# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Part of the scripts beside it: the long stress test on a machine of the rig. Its
# result lines are passed on; a lane that is not to be had is one skip.
. "$(dirname "${BASH_SOURCE[0]}")/../../lib.sh"

# lane_run SCRIPT LANE TIMEOUT RIG OPTION...
lane_run() {
	local script=$1 lane=$2 limit=$3 status
	shift 3
	"$root/tests/rig/run" "$lane" --timeout "$limit" "$@" "$root/tests/stress/$script" \
		"$root/tests/stress/lost.sh" "$root/build/tests/stress.static" 2>"$work/stderr"
	status=$?
	case $status in
	0 | 1) ;; # every run has said how it went
	77) skip "lane $lane" "$(tail -n 1 "$work/stderr")" ;;
	124) not_ok "lane $lane" "not done after $limit s" ;;
	*) not_ok "lane $lane" "exit status $status: $(tail -n 3 "$work/stderr" | tr '\n' ' ')" ;;
	esac
	[ $status != 1 ] || failures=1
}

# lane_stress LANE TIMEOUT RIG OPTION...: and nothing else
lane_stress() {
	lane_run in-lane.sh "$@"
	finish
}
