# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many VMs without a guest (tests/fake/qmp_vms.py), for tests of what is around guests.
# Source after lib.sh.

fakes_pid=

# fakes_start COUNT [PREFIX]: monitors $work/fakes/PREFIX000.qmp ... (vm). They end with the test.
fakes_start() {
	mkdir -p "$work/fakes"
	mkfifo "$work/fakes/stdin"
	exec {fakes_fd}<>"$work/fakes/stdin"
	setpriv --pdeathsig KILL "$python" "$root/tests/fake/qmp_vms.py" "$work/fakes" "$1" "${2-vm}" \
		<"$work/fakes/stdin" >"$work/fakes/out" 2>"$work/fakes/log" &
	fakes_pid=$!
	until_ok 90 grep -qs ready "$work/fakes/out" || why "the fake VMs do not listen: $(tail -n 1 "$work/fakes/log")"
}

# The script's end kills it (pdeathsig); this takes it away before.
fakes_stop() {
	[ -n "$fakes_pid" ] || return 0
	kill "$fakes_pid" 2>/dev/null
	wait "$fakes_pid" 2>/dev/null
	fakes_pid=
}
