#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent of a stock Debian guest over AF_XDP on its tap: every case of the other links (agent-cases.sh), for a
# card that has no address in the guest. VMPOKE_FULL=1; a short form is part of agent-vmpoke.sh.
# shellcheck source=tests/lib.sh
# Alone: time-outs of the agent's link are part of what is tested.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
if [ -z "${VMPOKE_FULL-}" ]; then
	skip agent-xdp "what agent-vmpoke.sh does not show of it takes minutes: only with VMPOKE_FULL=1"
	finish
fi
if [ "$(id -u)" = 0 ] && [ -z "${VMPOKE_OWN_NET-}" ] && unshare -n true 2>/dev/null; then
	exec unshare -n env VMPOKE_OWN_NET=1 bash "$0"
fi

. "$root/tests/e2e/agent-lib.sh"
. "$root/tests/e2e/agent-cases.sh"
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip agent-xdp "no guest kernel with modules"; finish; }
address=xdp:tap0,$mac link=xdp agent_options="--link packet --where eth0"
lost=off # what was sent into the old boot is given up after a while, and with it the session

# A guest that was rebooted has its card down.
agent_start() { vm_do web card-up && vm_do web agent "$agent_options" && agent_is ready; }

# Only its own key opens a session.
with_key() {
	echo "$key" >"$work/key" && chmod 600 "$work/key" && vp_ok remove web && add --agent-key "$work/key" || return
	vp --json agent web
	[ "$(field .state)" != ready ] || why "an agent without a key was taken" || return
	vm_do web agent-kill && vm_do web agent "$agent_options --key /etc/agent.key" && agent_is ready || return
	expect_eq authenticated "$(field .authenticated)" true || return
	vp_ok remove web && vm_do web agent-kill && add && agent_start
}

removed() {
	vp_ok remove web && until_ok 90 tap_is_free || why "the program is still on the tap"
}

[ -n "${VMPOKE_OWN_NET-}" ] && tap_make ||
	{ skip agent-xdp "no tap in a network namespace of our own here: $(tail -n 1 "$work/net.log")"; finish; }
make_initramfs || { not_ok "initramfs" "$WHY"; finish; }
agent_vm_start -- "${card[@]}"
case $? in
0) ;;
2) skip agent-xdp "$WHY"; finish ;;
*) not_ok "the guest starts" "$WHY"; finish ;;
esac
run_case "vmpoked starts" daemon_start
run_case "nobody answers" nobody
run_case "found" found
run_case "found by the next daemons" found_again
run_case "asked before text is changed" asked
run_case "killed between check and apply" killed
run_case "killed meanwhile" killed_meanwhile
run_case "the worker dies before the stop" worker_dies journal-paused
run_case "the worker dies with half of it written" worker_dies poke-site-written
run_case "the daemon is killed" daemon_dies
run_case "the VM is paused" paused
run_case "the guest is rebooted" rebooted
run_case "a key" with_key
run_case "another MAC" other_address xdp:tap0,52:54:00:12:34:57
run_case "removed" removed
run_case "guest is healthy" vm_healthy web
daemon_stop
finish
