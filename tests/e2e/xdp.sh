#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The link over AF_XDP on this machine's kernel, without a VM: a veth pair stands
# for the tap, link-echo in a second network namespace for the agent. Judged by
# what link-echo gives back, by what others send meanwhile, and by what ip shows.
# XDP_SHORT=1: without what takes long, others' traffic, a flood and bad wires.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
if [ "$(id -u)" != 0 ]; then
	skip xdp "needs root: network namespaces, BPF"
	exit 0
fi
[ "${VMPOKE_OWN_NET-}" ] || exec unshare -n env VMPOKE_OWN_NET=1 bash "$0"
. "$root/tests/link/lib.sh"

# host v0 --- v1 guest's side
new_wire() { # [MTU]
	ip link add v0 type veth peer name v1 netns "$far" || return
	ip link set v0 mtu "${1:-1500}" up && at_far ip link set v1 mtu "${1:-1500}" up || return
	ip addr add 10.78.0.1/24 dev v0 && at_far ip addr add 10.78.0.2/24 dev v1 || return
	mac=$(at_far ip -br link show v1 | awk '{ print $3 }')
	agent_start v1
}
agent_start() { # IFNAME
	start agent nsenter -t "$far" -n "$tools/link-echo" packet "$1"
	agent=$started
	until_ok 90 said agent ready
}
drop_wire() {
	end_quietly "$agent" KILL
	ip link del v0
}

probe_says() { # PATTERN ARGS...
	local pattern=$1
	shift
	OUT=$("$@" --probe 2>&1)
	grep -qE "usable=0 .*$pattern" <<<"$OUT" || why "'$OUT' does not say '$pattern'"
}

case_probe_reasons() {
	local ping="$tools/link-ping xdp" some=52:54:00:00:00:01
	# shellcheck disable=SC2086
	{
		probe_says "no tap and MAC" $ping || return
		probe_says "nosuch: No such device" $ping --tap nosuch --mac $some || return
		probe_says "lo .* is not a tap" $ping --tap lo --mac $some || return
		ip tuntap add down0 mode tap
		probe_says "down0 is down" $ping --tap down0 --mac $some || return
		ip link del down0
		probe_says "CAP_NET_RAW" setpriv --bounding-set=-all --inh-caps=-all $ping --tap v0 --mac $some
	}
}

case_session() {
	ping_link xdp --tap v0 --mac "$mac" --count 1000 --bulk 5000000 || return
	expect_eq "bytes read" "$(stat_of rx_bytes)" 5064000 || return
	expect_eq "mode" "$(stat_of mode)" native
}

# What docs/links.md says is needed is enough.
case_three_capabilities() {
	local caps=+net_admin,+net_raw,+bpf
	# A copy that everybody may run, wherever the source tree is.
	install -m 755 "$tools/link-ping" /tmp/link-ping.$$ || return
	OUT=$(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all,$caps --inh-caps=-all,$caps \
		--ambient-caps=-all,$caps /tmp/link-ping.$$ xdp --tap v0 --mac "$mac" --count 10 2>&1)
	local r=$?
	rm -f /tmp/link-ping.$$
	[ $r = 0 ] || why "$OUT"
}

# A frame longer than veth's native mode takes: the kernel refuses that, the other mode works.
case_fallback() {
	drop_wire
	new_wire 9000 || return
	ping_link xdp --tap v0 --mac "$mac" --count 100 --bulk 1000000 && expect_eq "mode" "$(stat_of mode)" skb
	local r=$?
	drop_wire
	new_wire && return $r
}

held_start() { # SECONDS
	start held "$tools/link-ping" xdp --tap v0 --mac "$mac" --count 10 --hold "$1"
	held=$started
	until_ok 90 said held '^rtt' || why "no session: $(tail -n 1 "$work/held")"
}

# What of others' traffic arrives: TCP bytes and datagrams, both exactly.
other_traffic() {
	TRAFFIC=$(at_far timeout 120 "$python" "$root/tests/link/traffic.py" run 10.78.0.1 2>"$work/speed")
	echo "# TCP $1: $(tail -n 1 "$work/speed")"
}

case_others_unharmed() {
	local before during after
	start server "$python" "$root/tests/link/traffic.py" serve 10.78.0.1
	local server=$started
	until_ok 90 said server ready || why "no server" || return
	other_traffic before
	before=$TRAFFIC
	held_start 300 || return
	other_traffic during
	during=$TRAFFIC
	xdp_shown v0 || why "the link was not open meanwhile" || return
	end_quietly "$held" TERM
	other_traffic after
	after=$TRAFFIC
	end_quietly "$server" TERM
	expect_eq "before" "$before" "tcp=52428800 right=True udp=1000" || return
	expect_eq "link open" "$during" "$before" || return
	expect_eq "link closed again" "$after" "$before"
}

# Frames of another type or another sender pass; ours do not reach the host's stack.
passes() { # SOURCE MAC, TYPE: how many of 20 the host sees
	start count "$python" "$root/tests/link/frames.py" count v0 "$2" findme thatsall
	local counter=$started
	until_ok 90 said count ready || return
	at_far "$python" "$root/tests/link/frames.py" send v1 "$(mac_of v0)" "$1" "$2" 20 findme
	at_far "$python" "$root/tests/link/frames.py" send v1 "$(mac_of v0)" "$1" 88b7 1 thatsall
	wait "$counter"
	SEEN=$(tail -n 1 "$work/count")
}
case_takes_only_its_own() {
	held_start 300 || return
	passes "$mac" 88b6 && expect_eq "frames of another type that pass" "$SEEN" 20 &&
		passes 52:54:00:99:99:99 88b5 && expect_eq "another sender's frames that pass" "$SEEN" 20 &&
		passes "$mac" 88b5 && expect_eq "frames of the agent that pass" "$SEEN" 0
	local r=$?
	end_quietly "$held" TERM
	return $r
}

case_gone_after_sigkill() {
	held_start 300 || return
	xdp_shown v0 || why "no program on v0 while the link is open" || return
	end_quietly "$held" KILL
	until_ok 90 not xdp_shown v0 || why "the program is still there" || return
	# The next worker gets the tap, and the agent hears that it is another one.
	ping_link xdp --tap v0 --mac "$mac" --count 10 || return
	until_ok 90 said agent "another host" || why "the agent did not notice"
}
not() { ! "$@"; }

case_one_at_a_time() {
	held_start 300 || return
	OUT=$("$tools/link-ping" xdp --tap v0 --mac "$mac" --count 1 2>&1)
	grep -qE 'another (AF_XDP socket|XDP program)' <<<"$OUT" || why "the second link was not refused: $OUT"
	local r=$?
	kill -0 "$held" 2>/dev/null || why "the first link ended: $(tail -n 1 "$work/held")" || r=1
	end_quietly "$held" TERM
	return $r
}

case_foreign_program() {
	ip link set dev v0 xdpgeneric obj "$root/build/bpf/xdp.bpf.o" sec xdp 2>"$work/ip" ||
		{ skip "a foreign program stays" "this ip loads no programs: $(tail -n 1 "$work/ip")"; return 2; }
	OUT=$("$tools/link-ping" xdp --tap v0 --mac "$mac" --count 1 2>&1)
	grep -q 'another XDP program' <<<"$OUT" || why "not refused: $OUT"
	local r=$?
	xdp_shown v0 || why "the foreign program is gone" || r=1
	ip link set dev v0 xdpgeneric off
	return $r
}

# A guest that sends as fast as it can: the session goes on.
case_flood() {
	start flood nsenter -t "$far" -n "$python" "$root/tests/link/frames.py" flood v1 "$(mac_of v0)" "$mac" 88b5
	local flood=$started
	until_ok 90 said flood frames || why "no flood" || return
	ping_link xdp --tap v0 --mac "$mac" --count 200 --bulk 200000 --hold 2
	local r=$?
	end_quietly "$flood" TERM
	echo "# $(tail -n 1 "$work/flood"); $(grep ^stats <<<"$OUT")"
	[ $r = 0 ] || return $r
	[ "$(stat_of dropped)" -gt 100 ] || why "only $(stat_of dropped) damaged frames reached the link"
}

# host v0 --- w0 relay w1 --- v1 guest's side
case_bad_wire() { # LOSS DOUBLED LATE BYTES
	drop_wire
	ip link add v0 type veth peer name w0 && ip link add w1 type veth peer name v1 netns "$far" || return
	for i in v0 w0 w1; do ip link set $i up; done
	at_far ip link set v1 up
	mac=$(at_far ip -br link show v1 | awk '{ print $3 }')
	agent_start v1 || return
	start relay "$tools/link-relay" w0 w1 "$1" "$2" "$3" 7
	local relay=$started
	until_ok 90 said relay ready || return
	ping_link xdp --tap v0 --mac "$mac" --count 100 --bulk "$4"
	local r=$?
	end_quietly "$relay" TERM
	ip link del w1
	echo "# $(tail -n 1 "$work/relay"); $(grep ^stats <<<"$OUT")"
	drop_wire
	new_wire && [ $r = 0 ] || return
	[ "$1" = 0 ] || [ "$(stat_of retransmits)" -gt 0 ] || why "nothing was sent again: the wire was not bad"
}

if "$tools/link-ping" xdp --probe 2>&1 | grep -q "built without XDP"; then
	skip xdp "this build has no XDP (clang, bpftool or libxdp-dev is missing)"
	exit 0
fi
ip link set lo up
far_side && new_wire || { skip xdp "no veth in a network namespace here"; exit 0; }
at_far ip link set lo up
OUT=$("$tools/link-ping" xdp --tap v0 --mac "$mac" --probe)
if ! grep -q usable=1 <<<"$OUT"; then
	skip xdp "$OUT"
	exit 0
fi
run_case "a reason for each refusal of the probe" case_probe_reasons
run_case "a session, every byte comes back" case_session
run_case "three capabilities are enough" case_three_capabilities
run_case "where the driver has no XDP, behind it" case_fallback
[ "${XDP_SHORT-}" = 1 ] || run_case "other traffic is what it was, before, during, after" case_others_unharmed
run_case "takes the agent's frames and no other" case_takes_only_its_own
run_case "nothing is left after SIGKILL, the next one begins anew" case_gone_after_sigkill
run_case "one link at a time" case_one_at_a_time
case_foreign_program
case $? in
0) ok "a foreign program stays" ;;
1) not_ok "a foreign program stays" "$WHY" ;;
esac
[ "${XDP_SHORT-}" != 1 ] || finish
run_case "a flood of damaged frames" case_flood
run_case "1% lost, doubled, late" case_bad_wire 1 1 1 2000000
run_case "10% lost, doubled, late" case_bad_wire 10 10 10 1000000
run_case "30% lost" case_bad_wire 30 0 0 200000
finish
