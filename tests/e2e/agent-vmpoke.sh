#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent of a stock Debian guest as vmpoked uses it, over a virtio-serial port of QEMU:
# found, asked before text is changed, killed, started anew, lost with a reboot, and with
# its host's daemon. Whatever happens to it, the guest's text is what vmpoke says. Over vsock: agent-vsock.sh.
# shellcheck source=tests/lib.sh
# One CPU: time-outs of the agent's link are part of what is tested.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
# A network namespace of our own, for a tap.
if [ "$(id -u)" = 0 ] && [ -z "${VMPOKE_OWN_NET-}" ] && unshare -n true 2>/dev/null; then
	exec unshare -n env VMPOKE_OWN_NET=1 bash "$0"
fi

. "$root/tests/e2e/agent-lib.sh"
. "$root/tests/e2e/agent-cases.sh"
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip agent-vmpoke "no guest kernel with modules"; finish; }

# --- cases ---

# Nothing of a sleeping probe is in the text: the kernel's table knows of it, the agent has its name.
probed() {
	vm_do web kprobe-asleep __do_sys_getpgrp+0x5 || return
	refused 3 'has a kprobe at __do_sys_getpgrp\+0x5, in force or not' check web "$patch" --agent-use none || return
	refused 3 'agent reports kprobe __do_sys_getpgrp\+0x5 at 0x[0-9a-f]+, disabled' check web "$patch" || return
	refused 5 'agent reports kprobe' apply web "$patch" || return
	vm_do web unkprobe || return
	# One in force is found in memory as well; the agent says what it is.
	vm_do web kprobe __do_sys_getpgrp+0x5 || return
	refused 5 "; the guest's agent reports kprobe __do_sys_getpgrp\+0x5 at" apply web "$patch" || return
	vm_do web unkprobe && vp_ok --json check web "$patch" || return
	expect_eq "agent used" "$(field .agent.used)" true
}

traced() {
	vm_do web ftrace __do_sys_getpgrp || return
	refused 5 "is being traced .*; the guest's agent reports ftrace __do_sys_getpgrp at" apply web "$patch" || return
	vm_do web unftrace && vp_ok check web "$patch"
}

# Another address for a VM that cannot be removed, as it is patched.
moved() {
	vp_ok apply web "$patch" && vp_ok --json agent web --set "unix:$work/nowhere" || return
	expect_eq changed "$(field .changed)" true || return
	vp --json agent web
	expect_eq "state and address" "$(field '"\(.state) \(.address)"')" "off unix:$work/nowhere" || return
	vp_ok agent web --set "$address" && agent_is ready && vp_ok --json agent web --set "$address" || return
	expect_eq "changed, the second time" "$(field .changed)" false || return
	vp_ok agent web --set none || return
	vp --json agent web
	expect_eq "state of none" "$(field .state)" none || return
	vp_ok agent web --set "$address" && daemon_kill
	daemon_start && agent_is ready || return
	refused 2 "vsock: the CID" agent web --set vsock:2 || return
	agent_is ready && expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 && vp_ok --json revert web "$id" || return
	expect_eq "agent used" "$(field .agent.used)" true
}

# With a key only the agent that has it is talked to; nothing shows it.
with_key() {
	echo "$key" >"$work/key" && chmod 644 "$work/key" && vp_ok remove web || return
	refused 2 "others than the owner" add web --qmp "$work/web/qmp" --agent "unix:$work/web/agent.sock" --agent-key "$work/key" || return
	chmod 600 "$work/key" && add --agent-key "$work/key" || return
	vp --json agent web
	[ "$(field .state)" != ready ] || why "an agent without a key was taken" || return
	vm_do web agent-kill && vm_do web agent "--key /etc/agent.key" && agent_is ready || return
	expect_eq authenticated "$(field .authenticated)" true || return
	expect_eq "mode of the kept key" "$(stat -c %a "$work/state/keys/web.agent")" 600 || return
	add --agent-key "$work/key" || return
	echo "${key/00/01}" >"$work/key"
	refused 5 "another key" add web --qmp "$work/web/qmp" --agent "unix:$work/web/agent.sock" --agent-key "$work/key" || return
	vp_ok --json info web && ! grep -q "$key" <<<"$OUT" || why "info shows the key" || return
	! grep -q "$key" "$work/vmpoked.log" "$work/state/vms/web.json" || why "the key is in a log or in the registry" || return
	! grep -qa "$key" /proc/"$daemon_pid"/cmdline $(pgrep -P "$daemon_pid" | sed 's|.*|/proc/&/cmdline|') ||
		why "the key is in a command line" || return
	vp_ok agent web --agent-key none || return
	[ ! -e "$work/state/keys/web.agent" ] || why "the key is still there" || return
	vp --json agent web
	[ "$(field .state)" != ready ] || why "an agent with a key takes a host without" || return
	echo "$key" >"$work/key"
	vp_ok agent web --agent-key "$work/key" && agent_is ready || return
	expect_eq authenticated "$(field .authenticated)" true && vp_ok remove web || return
	[ ! -e "$work/state/keys/web.agent" ] || why "the key is still there"
}

# Where the module is missing the way is said to be closed, and the rest works.
over_vsock() {
	vp_ok add web --qmp "$work/web/qmp" --agent vsock:42 || return
	vp --json agent web
	echo "# vsock: $(field .state), $(field .why)"
	[ "$(field .state)" != ready ] || why "there is an agent at a CID nobody has" || return
	vp_ok check web "$patch" && vp_ok remove web
}

addresses() {
	refused 2 "vsock: the CID" add x --qmp "$work/web/qmp" --agent vsock:2 || return
	refused 2 "guest's MAC" add x --qmp "$work/web/qmp" --agent xdp:tap0 || refused 2 "IFNAME,MAC" add x --qmp "$work/web/qmp" --agent xdp:tap0 || return
	refused 2 "unix:PATH, vsock" add x --qmp "$work/web/qmp" --agent tcp:1 || return
	refused 2 "goes with '--agent" add x --qmp "$work/web/qmp" --agent-key "$work/key" || return
	# No such place: the VM is added all the same, and works.
	vp_ok add web --qmp "$work/web/qmp" --agent "unix:$work/nowhere" || return
	vp --json agent web
	expect_eq "state and why" "$(field '"\(.state) \(.why)"')" "off no way to the agent: $work/nowhere: No such file or directory" || return
	refused 5 "registered with the agent at" add web --qmp "$work/web/qmp" || return
	vp_ok apply web "$patch" && vp_ok revert web "$patch" && vp_ok remove web
}

[ -n "${VMPOKE_OWN_NET-}" ] && tap_make || card=()
make_initramfs || { not_ok "initramfs" "$WHY"; finish; }
agent_vm_start -- "${card[@]}"
status=$?
case $status in
0) ;;
2) skip agent-vmpoke "$WHY"; finish ;;
*) not_ok "the guest starts" "$WHY"; finish ;;
esac
run_case "vmpoked starts" daemon_start
run_case "nobody answers" nobody
run_case "found" found
run_case "found by the next daemons" found_again
run_case "asked before text is changed" asked
run_case "kprobes only the guest knows of" probed
run_case "ftrace, and who says so" traced
run_case "killed between check and apply" killed
run_case "killed meanwhile" killed_meanwhile
run_case "the worker dies before the stop" worker_dies journal-paused
run_case "the worker dies with half of it written" worker_dies poke-site-written
run_case "the daemon is killed" daemon_dies
run_case "the VM is paused" paused
run_case "the guest is rebooted" rebooted
run_case "another address" moved
run_case "keys" with_key
run_case "addresses" addresses
if [ ${#card[@]} = 0 ]; then
	skip "over xdp" "no tap in a network namespace of our own here: $(tail -n 1 "$work/net.log")"
else
	run_case "over xdp" over_xdp
fi
run_case "a vsock address" over_vsock
run_case "guest is healthy" vm_healthy web
daemon_stop
finish
