# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# What must hold over every link: an agent that is found, asked before text is changed, killed, started anew,
# lost with a reboot, and with its host's daemon or worker. Source it after agent-lib.sh, whose
# variables say which link it is; cases are run with web up.
patch=$root/tests/demo.yaml id=getpgrp-is-4242

# Before anybody in the guest answers: everything goes as without.
nobody() {
	add || return
	vp --json agent web
	expect_eq "exit code" "$RC" 3 || return
	expect_eq state "$(field .state)" "$without" || return
	vp_ok --json check web "$patch" || return
	expect_eq "agent used" "$(field .agent.used)" false || return
	grep -q 'no agent' <<<"$(field .agent.why)" || why "why: $(field .agent.why)"
}

found() {
	agent_start || return
	echo "# hello $(field .hello_us) us, round trip $(field .round_trip_us) us, $(field .stats.rss_kib) KiB resident"
	expect_eq release "$(field .release)" "$(sed -nE 's/^UP ([^ ]+) .*/\1/p' "$work/web/console" | tail -n 1 | tr -d '\r')" || return
	expect_eq link "$(field .link)" "$link" || return
	vp_ok --json probe web || return
	expect_eq "probe: agent" "$(field '"\(.agent.state) \(.agent.agrees)"')" "ready true" || return
	vp_ok --json info web || return
	expect_eq "info: agent" "$(field '"\(.agent) \(.agent_state)"')" "$address ready"
}

# A daemon that finds its agent running: what the first hello takes.
found_again() {
	local i
	daemon_stop && daemon_start || return
	for i in 1 2 3 4 5; do
		agent_is ready || return
		echo "# hello of new host number $i: $(field .hello_us) us"
		daemon_kill
		daemon_start || return
	done
	agent_is ready
}

asked() {
	vp_ok --json check web "$patch" || return
	echo "# asked before a check: $(field .agent.elapsed_us) us"
	expect_eq "agent of check" "$(field '"\(.agent.used) \(.agent.warnings | length)"')" "true 0" || return
	vp_ok --json check web "$patch" --agent-use none || return
	expect_eq "agent of a check without" "$(field '"\(.agent.used) \(.agent.why)"')" "false not wanted" || return
	vp_ok --json apply web "$patch" || return
	echo "# asked before an apply: $(field .agent.elapsed_us) us of $(field .elapsed_us) us more"
	expect_eq "agent of apply" "$(field '"\(.agent.used) \(.agent.why)"')" "true null" || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 || return
	vp_ok --json verify web || return
	expect_eq "verify" "$(field '"\(.ok) \(.agent.used) \(.agent_sees | length)"')" "true true 0" || return
	vp_ok --json revert web "$id" || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" own
}

# Dead between the check and the apply, and started anew.
killed() {
	vp_ok --json check web "$patch" && vm_do web agent-kill || return
	vp_ok --json apply web "$patch" || return
	expect_eq "agent used" "$(field .agent.used)" false || return
	echo "# a dead agent costs $(field .agent.elapsed_us) us: $(field .agent.why)"
	expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 && verify_clean web || return
	agent_start || return
	vp_ok --json revert web "$id" || return
	expect_eq "agent used" "$(field .agent.used)" true || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" own
}

# Killed while vmpoke is at work, at whatever moment that is.
killed_meanwhile() {
	local i verb want used=
	for i in 1 2 3 4; do
		verb=apply want=4242
		[ $((i % 2)) = 1 ] || verb=revert want=own
		vp --json "$verb" web "$patch" &
		sleep "0.0$((RANDOM % 10))"
		vm_do web agent-kill || return
		wait $!
		expect_eq "getpgrp() after $verb" "$(vm_pgrp web)" "$want" && verify_clean web || return
		agent_start || return
	done
}

# The worker dies in the middle; the next one puts things right and finds the agent.
worker_dies() { # POINT
	local died
	daemon_stop && daemon_start "VMPOKE_FAULT=$1:1" && agent_is ready || return
	died=$(worker_deaths)
	vp --json apply web "$patch"
	until_ok 90 worker_died "$died" || why "the worker did not die at $1" || return
	daemon_stop && daemon_start || return
	verify_clean web || return
	vp_ok --json status web || return
	case $(vm_pgrp web) in
	4242) expect_eq "patches" "$(field '.patches | length')" 1 ;;
	own) expect_eq "patches" "$(field '.patches | length')" 0 ;;
	*) why "getpgrp() is something else" ;;
	esac || return
	agent_is ready && vp_ok revert web "$patch" || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" own
}

daemon_dies() {
	agent_is ready && vp_ok apply web "$patch" || return
	daemon_kill
	daemon_start && agent_is ready && verify_clean web && vp_ok --json revert web "$id" || return
	expect_eq "agent used" "$(field .agent.used)" true
}

rebooted() {
	local mark boot
	agent_is ready && boot=$(field .boot_id) && vp_ok apply web "$patch" || return
	mark=$(vm_mark web)
	vm_mon web '{"execute": "system_reset"}' >/dev/null
	vm_wait web "${VM_BOOT_LIMIT:-240}" '^UP ' "$mark" || return
	vp_ok --json status web || return
	expect_eq "state of the patch" "$(field '.patches[0].state')" lost || return
	# Nobody has started it: what the last boot's said is forgotten.
	vp --json agent web
	echo "# after the reboot: $(field .state), $(field .why)"
	[[ " $without $lost " == *" $(field .state) "* ]] || why "the agent is $(field .state), expected: $without $lost" || return
	vp_ok --json check web "$patch" || return
	expect_eq "agent used" "$(field .agent.used)" false || return
	agent_start || return
	[ "$(field .boot_id)" != "$boot" ] || why "the boot id is the old one" || return
	vp_ok --json apply web "$patch" || return
	expect_eq "agent used, getpgrp()" "$(field .agent.used) $(vm_pgrp web)" "true 4242" || return
	vp_ok revert web "$id"
}

paused() {
	vm_mon web '{"execute": "stop"}' >/dev/null
	vp --json agent web
	expect_eq why "$(field .why)" "the VM does not run"
	local status=$?
	vm_mon web '{"execute": "cont"}' >/dev/null
	[ $status = 0 ] && agent_is ready
}

# Where no agent is there is none, and the VM works without.
other_address() { # ADDRESS
	vp_ok remove web && vp_ok add web --qmp "$work/web/qmp" --agent "$1" || return
	vp --json agent web
	echo "# $1: $(field .state), $(field .why)"
	[ "$(field .state)" != ready ] || why "there is an agent at $1" || return
	vp_ok check web "$patch" && vp_ok remove web && add && agent_is ready
}

# A card for the guest on a tap in this network namespace: QEMU's arguments in card.
mac=52:54:00:12:34:56
tap_make() {
	ip tuntap add tap0 mode tap 2>>"$work/net.log" && ip link set tap0 up 2>>"$work/net.log" || return
	card=(-netdev tap,id=net,ifname=tap0,script=no,downscript=no -device "virtio-net-pci,netdev=net,mac=$mac,romfile=")
}

# The same agent over the guest's network card, which has no address.
over_xdp() {
	vm_do web agent-kill
	# No more than systemd/links.conf gives.
	daemon_stop && daemon_start setpriv --no-new-privs \
		--bounding-set=-all,+sys_ptrace,+dac_override,+net_admin,+net_raw,+bpf || return
	vm_do web card-up && vm_do web agent "--link packet --where eth0" || return
	vp_ok add web --qmp "$work/web/qmp" --agent "xdp:tap0,$mac" && agent_is ready || return
	echo "# hello over xdp $(field .hello_us) us, round trip $(field .round_trip_us) us"
	expect_eq link "$(field .link)" xdp || return
	vp_ok --json apply web "$patch" || return
	expect_eq "agent used, getpgrp()" "$(field .agent.used) $(vm_pgrp web)" "true 4242" || return
	daemon_kill
	daemon_start && agent_is ready || return
	vm_do web agent-kill && vp_ok --json revert web "$id" || return
	expect_eq "agent used, getpgrp()" "$(field .agent.used) $(vm_pgrp web)" "false own" || return
	vp_ok remove web || return
	until_ok 90 tap_is_free || why "the program is still on the tap"
}
tap_is_free() { ! ip link show tap0 | grep -q 'prog/xdp'; }
