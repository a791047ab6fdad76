#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 256 VMs in one daemon: they register, are listed, watched and told apart, and are all
# there again after a restart of the daemon. What they cost is measured in bench/many.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/many-lib.sh"
count=256

setup() {
	fakes_start $count || return
	daemon_start
}

add_all() {
	local requests=() i
	for ((i = 0; i < count; i++)); do
		requests+=("$(printf '{"execute": "vm-add", "arguments": {"name": "vm%03d", "qmp": "%s/fakes/vm%03d.qmp"}}' $i "$work" $i)")
	done
	timeout 60 "$python" "$root/tests/e2e/qmp.py" "$sock" "${requests[@]}" >"$work/added" || why "the requests end with $?" || return
	expect_eq "VMs added" "$(jq -s 'map(select(.return.changed and .return.state == "running")) | length' "$work/added")" $count ||
		why "$WHY: $(grep -m1 error "$work/added")"
}

states() { vp --json list && field 'map(.state) | group_by(.) | map("\(.[0]):\(length)") | join(" ")'; }
all_are() { [ "$(states)" = "$1:$count" ]; }

listed() {
	expect_eq "states" "$(states)" "running:$count" || return
	vp_ok list || return
	expect_eq "names" "$(cut -f 1 <<<"$OUT" | sha256sum)" "$(printf 'vm%03d\n' $(seq 0 $((count - 1))) | sha256sum)" || return
	vp_ok --json info "qmp:$work/fakes/vm200.qmp" || return
	expect_eq "VM of a monitor" "$(field .name)" vm200
}

# All at once: no client misses one, no worker is taken for a flood.
all_change() {
	"$build/vmpoke" -c "$sock" list --watch --json >"$work/watched" 2>"$work/watched.err" &
	local pid=$!
	until_ok 90 grep -qs vm000 "$work/watched" || why "nothing is watched" || return
	kill -USR1 "$fakes_pid"
	until_ok 90 all_are paused || why "states are $(states)" || return
	until_ok 90 watched_are paused || why "the watcher sees $(tail -n 1 "$work/watched" | jq -c 'map(.state) | group_by(.) | map([.[0], length])')" || return
	kill -USR2 "$fakes_pid"
	until_ok 90 all_are running || why "states are $(states)" || return
	until_ok 90 watched_are running || why "the watcher does not see that they run" || return
	kill -INT $pid
	wait $pid
	expect_eq "exit code of list --watch" $? 0 || return
	! grep -q 'the worker ended' "$work/vmpoked.log" || why "$(grep -m1 'the worker ended' "$work/vmpoked.log")"
}
watched_are() { [ "$(tail -n 1 "$work/watched" | jq 2>/dev/null "map(select(.state == \"$1\")) | length")" = $count ]; }

restarted() {
	if [ "$1" = killed ]; then daemon_kill; else daemon_stop || return; fi
	daemon_start || return
	until_ok 60 all_are running || why "states after the restart: $(states)"
}

run_case "256 VMs have monitors" setup
[ $failures = 0 ] || finish
run_case "256 VMs are registered" add_all
run_case "256 VMs are listed" listed
run_case "256 VMs change their state at once" all_change
run_case "256 VMs survive a restart of the daemon" restarted stopped
run_case "256 VMs survive the daemon's death" restarted killed
run_case "daemon stops" daemon_stop
finish
