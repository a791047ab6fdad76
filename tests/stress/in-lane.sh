#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The stress test inside a throw-away host: give this and stress.static to
# tests/rig/run. One result line per run, as every test here prints them; exit 1
# when one was bad. Needs nothing but a shell and timeout.
#   TRAPS=int3|hw (default: what the lane reports), SECONDS_EACH (4), VCPUS (2)
seconds=${SECONDS_EACH:-4} vcpus=${VCPUS:-2} bad=0
out=/tmp/stress.out

expect() { # STATUS NAME ARGS...
	want=$1 name=$2
	shift 2
	timeout $((seconds * 10 + 60)) stress.static "$@" --json >$out 2>&1
	status=$?
	sed 's/^/# /' $out
	if [ $status = "$want" ]; then
		echo "ok $name"
	elif [ $status = 77 ]; then
		echo "skip $name: no /dev/kvm"
	else
		echo "not ok $name: exit status $status, expected $want"
		bad=1
	fi
}

traps=${TRAPS:-int3}
if [ -z "${TRAPS:-}" ] && stress.static --mode staged --seconds 1 2>&1 | grep -q 'not possible'; then
	traps=hw
fi
echo "# traps: $traps"
expect 1 "naive stores are caught" --mode naive --vcpus "$vcpus" --seconds $((seconds * 4))
for mode in flipped staged held stopped; do
	expect 0 "$mode" --mode $mode --traps "$traps" --vcpus "$vcpus" --seconds "$seconds"
	expect 0 "$mode, NMIs and machine checks" --mode $mode --traps "$traps" --vcpus "$vcpus" --seconds "$seconds" \
		--nmi 50 --mce 20
done
for mode in flipped held; do
	expect 0 "$mode changes pairs at once" --mode $mode --traps "$traps" --vcpus 4 --seconds "$seconds" --sites 1 \
		--pairs --gap 300
done
expect 1 "halves changed apart are seen" --mode flipped --vcpus 4 --seconds "$seconds" --sites 1 --pairs --gap 300 --unpaired
exit $bad
