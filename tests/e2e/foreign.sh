#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vmpoked can connect to more than its clients can: who is not root registers VMs of his own user only, whatever the paths lead
# to, then and later. Other users are setpriv's, the VMs are monitors without a guest.
. "$(dirname "$0")/../lib.sh"

[ "$(id -u)" = 0 ] || { skip foreign "needs root, for other users"; finish; }
stranger=54321

# monitors DIR UID: vm000.qmp and vm001.qmp in $work/DIR, served by that user. They end with the test.
monitors() {
	local dir=$work/$1
	install -d -m 755 -o "$2" -g "$2" "$dir" && mkfifo "$dir/stdin" && chown "$2" "$dir/stdin" || return
	exec {monitors_fd}<>"$dir/stdin"
	setpriv --pdeathsig KILL --reuid "$2" --regid "$2" --clear-groups "$python" "$work/bin/qmp_vms.py" "$dir" 2 vm \
		<"$dir/stdin" >"$work/$1.out" 2>"$work/$1.log" &
	until_ok 60 grep -qs ready "$work/$1.out" || why "no monitors of uid $2: $(tail -n 1 "$work/$1.log")"
}

setup() {
	chmod 711 "$work"
	mkdir "$work/bin" && install -m 755 "$build/vmpoke" "$root/tests/fake/qmp_vms.py" "$work/bin/" || return
	monitors ours 0 && monitors theirs "$stranger" || return
	daemon_start
}

as_stranger() { # ARGS...: vmpoke; group 0 is that of the socket
	OUT=$(setpriv --reuid "$stranger" --regid "$stranger" --groups 0 "$work/bin/vmpoke" -c "$sock" "$@" 2>"$work/stderr" </dev/null)
	RC=$?
	ERR=$(<"$work/stderr")
	return $RC
}
refused() { # SENTENCE ARGS...
	local sentence=$1
	shift
	as_stranger "$@"
	expect_eq "exit code of $1" "$RC" 5 || why "$WHY ($ERR$OUT)" || return
	grep -q -- "$sentence" <<<"$ERR" || why "the sentence is: $ERR"
}

others_are_refused() {
	refused 'ours/vm000.qmp is not served by uid 54321' add x --qmp "$work/ours/vm000.qmp" || return
	ln -s "$work/ours/vm000.qmp" "$work/theirs/link.qmp" || return
	refused 'theirs/link.qmp is not served by uid 54321' add x --qmp "$work/theirs/link.qmp" || return
	vp_ok --json list || return
	expect_eq "VMs registered" "$(field length)" 0
}

own_is_added() {
	as_stranger add own --qmp "$work/theirs/vm000.qmp" || why "add: $ERR" || return
	vp_ok add any --qmp "$work/theirs/vm001.qmp" || return # root's are root's to choose
	vp_ok add ours --qmp "$work/ours/vm000.qmp" || return
	refused "'ours' was not registered by uid 54321" agent ours --set "unix:$work/theirs/vm001.qmp" || return
	as_stranger agent own --set "unix:$work/theirs/vm001.qmp" || why "agent: $ERR"
}

state_is() { # VM STATE
	vp --json list
	[ "$(field ".[] | select(.name == \"$1\") | .state")" = "$2" ]
}

# The path leads elsewhere meanwhile: it is looked at each time.
later_as_well() {
	daemon_stop || return
	mv "$work/theirs/vm000.qmp" "$work/theirs/aside.qmp" && ln -s "$work/ours/vm001.qmp" "$work/theirs/vm000.qmp" || return
	daemon_start || return
	until_ok 60 state_is own unreachable || why "vmpoke list: $OUT" || return
	grep -q 'is not served by uid 54321' <<<"$OUT" || why "the reason is: $OUT" || return
	until_ok 60 state_is any running || why "vmpoke list: $OUT" || return
	mv "$work/theirs/aside.qmp" "$work/theirs/vm000.qmp"
	until_ok 60 state_is own running || why "vmpoke list: $OUT"
}

run_case "setup" setup
[ "$failures" = 0 ] || finish
run_case "a monitor of somebody else's is not registered" others_are_refused
run_case "one of one's own is" own_is_added
run_case "a path that leads elsewhere later" later_as_well
run_case "daemon stops" daemon_stop
finish
