# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the tests of links share. They run in a network namespace of their own,
# which ends with them; a second one, "the guest's side", is held by $far.
# Source it after tests/lib.sh and own_namespace.

tools=$root/build/tests/link
frames() { "$python" "$root/tests/link/frames.py" "$@"; }

# A process that holds a network namespace: its pid in $far.
far_side() {
	setpriv --pdeathsig KILL unshare -n sleep 3600 &
	far=$!
	# Until unshare has made it, it is still ours.
	until_ok 5 far_is_apart
}
far_is_apart() { [ "$(readlink "/proc/$far/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
at_far() { nsenter -t "$far" -n "$@"; }

mac_of() { ip -br link show "$1" | awk '{ print $3 }'; }
xdp_shown() { ip -d link show "$1" | grep -q xdp; }

# start NAME COMMAND...: in the background, output in $work/NAME, pid in $started.
start() {
	local name=$1
	shift
	: >"$work/$name" # what an earlier one said
	setpriv --pdeathsig KILL "$@" >"$work/$name" 2>&1 </dev/null &
	started=$!
}
said() { grep -q -- "$2" "$work/$1" 2>/dev/null; } # NAME PATTERN

# end_quietly PID SIGNAL: no message of the shell's about it.
end_quietly() {
	kill "-$2" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	return 0
}

# ping_link ARGS...: output in $OUT, must succeed.
ping_link() {
	OUT=$(timeout 150 "$tools/link-ping" "$@" 2>&1) || why "link-ping $*: $(tail -n 1 <<<"$OUT")"
}
stat_of() { sed -n "s/^stats .*$1=\([^ ]*\).*/\1/p" <<<"$OUT"; }
