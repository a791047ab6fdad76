#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The long stress test inside a throw-away host: give this and stress.static to
# tests/rig/run (tests/e2e/slow/ does). One result line per run, as every test here
# prints them, with the number of changes it reached; exit 1 when one was bad. Must
# never call a run good that changed less than it was to. Needs a shell, sed, timeout.
# How much in which lane: `native` and `e` are fast, `n` has no int3, `v` is slow.
bad=0 total=0 running='' out=/tmp/stress.out pairs=2000 each=3400 vcpus='1 2' limit=180 traps=int3 modes='flipped staged held' rest='' land=50 lost='' n_lost=0
case ${RIG_LANE:-e} in
v) limit=900 rest='--gap 2000' ;; # one CPU: the vCPUs run in the gaps only
n) vcpus=4 each=5000 limit=240 traps=hw modes='flipped staged held stopped' ;;
e | native) pairs=100000 vcpus='1 2 4' limit=300 rest='--gap 50' ;; # or few pairs have but one change between
esac

. "${RIG_FILES:-$(dirname "$0")}/lost.sh"
trap '[ -z "$running" ] || kill "$running"; exit 143' TERM INT HUP
figure() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" $out | head -n 1; }

# verdict STATUS WANTED NAME FIGURE LEAST: one result line.
verdict() {
	reached=$(figure "$4")
	if [ "$1" = 77 ]; then
		echo "skip $3: no /dev/kvm"
	elif [ "$1" != "$2" ]; then
		echo "not ok $3: exit status $1, expected $2: $(grep '^stress:' $out | tail -n 1)"
		bad=1
	elif [ "${reached:-0}" -lt "$5" ]; then
		echo "not ok $3: ${reached:-0} $4 in $limit s, wanted $5"
		bad=1
	else
		echo "ok $3: ${reached:-0} $4, $(figure violations) violations"
		return 0
	fi
	return 1
}

# run ARGS...: sets status
run() {
	began=$(cut -d. -f1 /proc/uptime)
	# In the background: a shell that waits acts on a signal, and timeout is in a group of its own.
	timeout $((limit + 120)) stress.static --seconds "$limit" "$@" --json >$out 2>&1 &
	running=$!
	wait $running
	status=$?
	running=
	sed 's/^/# /' $out
	echo "# took $(($(cut -d. -f1 /proc/uptime) - began)) s"
}

# The last run's only fault is that the lane's CPUs lost a vCPU or the guest; no result was wrong.
lost_by_lane() {
	[ "$(figure fallen)" = "$(figure violations)" ] && { { [ "$(figure fallen)" = 1 ] && vcpu_in_host $out; } || guest_reset $out; }
}

# expect STATUS NAME FIGURE LEAST ARGS...: a run that the lane's CPUs spoilt is made again, two in all.
expect() {
	wanted=$1 name=$2 what=$3 least=$4
	shift 4
	run "$@"
	if [ $status = 1 ] && [ "$wanted" = 0 ] && [ $n_lost -lt 2 ] && lost_by_lane; then
		n_lost=$((n_lost + 1)) lost="$lost${lost:+; }$name"
		run "$@"
	fi
	verdict $status "$wanted" "$name" "$what" "$least"
}

# between LEAST: in the last run, pair checks that saw the change come between the halves.
between() {
	seen=$(figure pairs_between)
	if [ "${seen:-0}" -lt "$1" ]; then
		echo "not ok $name: ${seen:-0} pair checks with the change between, wanted $1"
		bad=1
	else
		echo "# $seen pair checks with the change between"
	fi
}

expect 1 "naive stores are caught" flips 1 --mode naive --vcpus 2
for mode in $modes; do
	for n in $vcpus; do
		expect 0 "$mode, $n vCPUs" changes "$each" --mode "$mode" --traps $traps --vcpus "$n" --changes "$each" $rest &&
			total=$((total + reached))
	done
done
echo "# $total changes of sites in all"
for mode in $modes; do
	expect 0 "$mode, NMIs and machine checks" nmi_seen 20 --mode "$mode" --traps $traps --vcpus 2 --nmi 50 --mce 20 \
		--seconds 6
done
for mode in flipped staged held stopped; do
	expect 0 "$mode, an event at each step and instruction" landed $land --inject-at --mode "$mode" --traps $traps \
		--vcpus 2
done
[ $traps = hw ] || expect 0 "staged, copies are stepped" copied 50 --inject-at --mode staged --slots --vcpus 2 \
	--shapes load,prologue,call-inside
for mode in flipped held; do
	expect 0 "$mode changes pairs at once" flips $pairs --mode $mode --traps $traps --vcpus 4 --sites 1 --pairs \
		--shapes call --flips $pairs $rest && between 20
done
expect 1 "halves changed apart are seen" flips 1 --mode flipped --vcpus 4 --sites 1 --pairs --shapes call --unpaired \
	--seconds 60 $rest
[ -z "$lost" ] || echo "# run again because of the emulated CPUs: $lost"
exit $bad
