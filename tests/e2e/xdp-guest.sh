#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The links to a real guest: a stock Debian kernel in QEMU, its virtio network card
# on a tap, its virtio-serial port on a unix socket, link-echo in it. The tap has
# no address on the host, and the card none in the guest, until others' traffic is
# looked at. Judged by what comes back and by what the guest's console says.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
if [ "$(id -u)" != 0 ]; then
	skip xdp-guest "needs root: network namespaces, BPF"
	exit 0
fi
[ "${VMPOKE_OWN_NET-}" ] || exec unshare -n env VMPOKE_OWN_NET=1 bash "$0"
. "$root/tests/link/lib.sh"
. "$root/tests/link/guest.sh"

case_up() {
	ip tuntap add tap0 mode tap && ip link set tap0 up && guest_start "$1"
}

case_session() {
	ping_link xdp --tap tap0 --mac $mac --count 500 --bulk 2000000 || return
	echo "# $(grep ^rtt <<<"$OUT"); mode $(stat_of mode), $(stat_of retransmits) sent again"
	expect_eq "bytes read" "$(stat_of rx_bytes)" 2032000 && expect_eq "mode" "$(stat_of mode)" native
}

# Neither end has an address, so nothing but our frames can have come through.
case_no_address() {
	[ -z "$(ip -4 addr show tap0 | grep inet)" ] || why "tap0 has an address" || return
	! vm_seen g '^SUM' || why "the guest has an address"
}

case_sigkill() {
	start held "$tools/link-ping" xdp --tap tap0 --mac $mac --count 5 --hold 300
	until_ok 90 said held '^rtt' || why "no session: $(tail -n 1 "$work/held")" || return
	xdp_shown tap0 || why "no program on tap0" || return
	end_quietly "$started" KILL
	until_ok 90 not xdp_shown tap0 || why "the program is still there" || return
	ping_link xdp --tap tap0 --mac $mac --count 20 || return
	vm_wait g 120 '^packet: another host'
}
not() { ! "$@"; }

# Nobody calls: not one frame from the guest, not one context switch of link-echo in it.
case_rest() {
	local before after rx_before rx_after
	# The console is behind what happens, more so on a busy machine: until it shows rest.
	until_ok 60 time_stands || why "link-echo does not come to rest" || return
	rx_before=$(ip -s -j link show tap0 | jq '.[0].stats64.rx.packets')
	before=$(last_time)
	[ -n "$before" ] || why "the guest's console tells no times" || return
	vm_wait g 120 '^TIME' "$(vm_mark g)" && sleep 4
	after=$(last_time)
	rx_after=$(ip -s -j link show tap0 | jq '.[0].stats64.rx.packets')
	expect_eq "frames from the guest" "$rx_after" "$rx_before" &&
		expect_eq "ticks and context switches of link-echo" "$after" "$before"
}
time_stands() {
	local mark
	mark=$(vm_mark g)
	until_ok 90 vm_lines_after $((mark + 2)) && [ "$(tail -n 2 "$work/g/console" | tr -d '\r' | grep ^TIME | sort -u | wc -l)" = 1 ]
}
vm_lines_after() { [ "$(vm_mark g)" -ge "$1" ]; }
last_time() { tr -d '\r' <"$work/g/console" | grep '^TIME' | tail -n 1; }

case_virtio_serial() {
	ping_link virtio-serial --socket "$work/port" --count 300 --bulk 500000 || return
	echo "# $(grep ^rtt <<<"$OUT")"
	expect_eq "bytes read" "$(stat_of rx_bytes)" 519200
}

case_guest_gone() {
	start held "$tools/link-ping" xdp --tap tap0 --mac $mac --count 5 --hold 300
	until_ok 90 said held '^rtt' || why "no session: $(tail -n 1 "$work/held")" || return
	vm_kill g
	until_ok 90 not kill -0 "$started" 2>/dev/null || why "the link did not notice" || return
	said held "no agent answers\|gone or down" || why "it said: $(tail -n 1 "$work/held")"
}

fetch_file() {
	"$python" - <<-'PY' | md5sum | cut -c1-32
		import sys, urllib.request
		sys.stdout.buffer.write(urllib.request.urlopen("http://10.77.0.2/file", timeout=60).read())
	PY
}
case_others() {
	local sum
	sum=$(tr -d '\r' <"$work/g/console" | sed -n 's/^SUM //p')
	ip addr add 10.77.0.1/24 dev tap0
	expect_eq "the guest's file, before" "$(fetch_file)" "$sum" || return
	start held "$tools/link-ping" xdp --tap tap0 --mac $mac --count 5 --hold 300
	until_ok 90 said held '^rtt' && xdp_shown tap0 || why "no session: $(tail -n 1 "$work/held")" || return
	expect_eq "the guest's file, link open" "$(fetch_file)" "$sum" || return
	end_quietly "$started" TERM
	expect_eq "the guest's file, link closed" "$(fetch_file)" "$sum"
}

if "$tools/link-ping" xdp --probe 2>&1 | grep -q "built without XDP"; then
	skip xdp-guest "this build has no XDP (clang, bpftool or libxdp-dev is missing)"
	exit 0
fi
[ -c /dev/net/tun ] || { skip xdp-guest "no /dev/net/tun"; exit 0; }
guest_files || { skip xdp-guest "no kernel or module for the guest: $(tail -n 1 "$work/fetch.log")"; exit 0; }
ip link set lo up
if ! case_up ""; then
	not_ok "the guest is up, without an address" "$WHY"
	finish
fi
ok "the guest is up, without an address"
OUT=$("$tools/link-ping" xdp --tap tap0 --mac $mac --probe)
if ! grep -q usable=1 <<<"$OUT"; then
	skip xdp-guest "$OUT"
	exit 0
fi
run_case "a session over the tap, every byte comes back" case_session
run_case "no address on either end" case_no_address
run_case "nothing is left after SIGKILL, the next one begins anew" case_sigkill
run_case "at rest nothing happens" case_rest
run_case "a session over virtio-serial" case_virtio_serial
run_case "a guest that ends is noticed" case_guest_gone
ip link del tap0
run_case "the guest is up, with an address" case_up linktest=ip
run_case "what others fetch from it is the same with the link open" case_others
finish
