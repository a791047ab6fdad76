#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL at every point of a transaction, to the worker alone and to worker and
# daemon together, twice each (VMPOKE_FULL=1: 10 times). Whatever died when: the guest runs on,
# the patch is wholly there or wholly not, and verify is clean. What the guest
# holds is judged from QEMU's own memory view, not from what vmpoke says.
. "$(dirname "$0")/../lib.sh"
rounds=${CRASH_ROUNDS:-$([ -n "${VMPOKE_FULL-}" ] && echo 10 || echo 2)}
states=$work/seen-states
recovery_died=0

# Three sites, so that a transaction can die between two of them.
write_patch() {
	cat >"$work/three.yaml" <<-'YAML'
		vmpoke: 1
		name: three
		sites:
		  - { at: __x64_sys_getpgrp, kind: return, value: 4242 }
		  - { at: __x64_sys_getppid, kind: return, value: 4242 }
		  - { at: __x64_sys_getegid, kind: jump, to: __x64_sys_getgid }
	YAML
}

setup() {
	local name
	write_patch
	vm_start a -s 2 -c vmtest=load || return
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp" || return
	sites=()
	for name in __x64_sys_getpgrp __x64_sys_getppid __x64_sys_getegid; do
		vp_ok symbols a "$name" || return
		sites+=("0x${OUT%% *}")
	done
	old=$(text)
	vp_ok apply a "$work/three.yaml" || return
	new=$(text)
	[ "$old" != "$new" ] || why "the patch changes no byte" || return
	vp_ok revert a three || return
	expect_eq "text after revert" "$(text)" "$old" || return
	daemon_stop
}

# Whether the VM runs and the bytes of all sites, one string, in one conversation with QEMU.
text() {
	local commands=('{"execute": "query-status"}') s
	for s in "${sites[@]}"; do
		commands+=("{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"x /16xb $s\"}}")
	done
	vm_mon a "${commands[@]}" | jq -r '.return | .status? // .' | sed 's/^[^:]*: //' | tr -d '\r\n'
}

# vmpoke's knowledge of the VM is settled: a worker has recovered it and answers.
recovered() { vp --json status a; }

# Which state we are in now, "old" or "new"; anything else is a failure.
settled_state() {
	until_ok 90 recovered || why "no answer after the crash: $ERR" || return
	local text
	text=$(text)
	case $text in
	"$old") state=old ;;
	"$new") state=new ;;
	*) why "the guest is neither running and all-old nor running and all-new: $text (old: $old)" || return ;;
	esac
	expect_eq "status says patched" "$(field '[.. | .patches? // empty | arrays | length] | max // 0')" \
		"$([ $state = new ] && echo 1 || echo 0)"
}

# One death of the worker, and of the daemon when SUFFIX says so: the operation opposite to the present state, killed at $1.
die_once() { # POINT SUFFIX
	local verb=apply what=$work/three.yaml
	daemon_start "VMPOKE_FAULT=$1:1$2" || return
	settled_state || return
	if [ $state = new ]; then
		verb=revert what=three
	fi
	vp "$verb" a "$what"
	[ $RC != 0 ] || why "$verb was not killed at $1" || return
	if [ -n "$2" ]; then
		until_ok 90 daemon_gone || why "the daemon survived" || return
		daemon_reap
		daemon_start || return
	fi
	# A point that recovery passes, too, kills every worker of this daemon: no answer at all.
	if ! until_ok 3 recovered; then
		recovery_died=$((recovery_died + 1))
		daemon_kill
		daemon_start || return
	fi
	settled_state || return
	echo "$1$2 $verb $state" >>"$states"
	verify_clean a || return
	daemon_stop
}

die_often() { # POINT SUFFIX
	local i
	for ((i = 1; i <= rounds; i++)); do
		die_once "$1" "$2" || why "round $i: $WHY" || return
	done
	vm_healthy a
}

# A case that failed half-way must not spoil the next one.
after_failure() {
	[ -n "$daemon_pid" ] || return 0
	daemon_kill
	daemon_start && until_ok 90 recovered
	daemon_stop
}

make_old() {
	daemon_start || return
	settled_state || return
	[ $state = old ] || vp_ok revert a three || return
	settled_state || return
	expect_eq "the text in the end" $state old || return
	verify_clean a
}

# A worker that recovers must be understood by its daemon, not killed for what it says.
workers_behaved() {
	! grep -q 'is killed' "$work/vmpoked.log" || why "$(grep -c 'is killed' "$work/vmpoked.log") times, first: $(grep -m 1 'is killed' "$work/vmpoked.log")"
}

end_state() {
	vm_beats a && vm_healthy a && expect_eq "getpgrp()" "$(vm_pgrp a)" own
}

run_case "guest under load, patch tried once" setup
[ $failures = 0 ] || finish
points=$("$build/vmpoke-vm" --list-fault-points)
run_case "at least 12 kill points" [ "$(wc -w <<<"$points")" -ge 12 ]
for point in $points; do
	run_case "worker killed at $point, $rounds times" die_often "$point" ""
	after_failure
	run_case "worker and daemon killed at $point, $rounds times" die_often "$point" ":parent"
	after_failure
done
echo "# outcomes: $(awk '{ print $2, "->", $3 }' "$states" | sort | uniq -c | tr -s ' \n' ' '); recovery died, too: $recovery_died"
run_case "put back in the end" make_old
run_case "guest lives, unpatched, without a complaint" end_state
run_case "no worker was killed by the daemon" workers_behaved
run_case "daemon stops" daemon_stop
finish
