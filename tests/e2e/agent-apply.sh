#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Patches with the guest's own text_mutex held by a thread that its agent parks (--agent-use
# full), against a stock kernel that changes its own text, a sleeper, and whatever dies.
# One CPU: the time in which a thread of the guest comes is part of what is tested.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/agent-lib.sh"
patch=$root/tests/demo.yaml
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip agent-apply "no guest kernel with modules"; finish; }

# --- what must hold ---

# full VERB WANTED ARGUMENTS...: with text_mutex, and done.
full() {
	local verb=$1 want=$2
	shift 2
	vp_ok --json "$verb" web "$patch" --agent-use full "$@" || return
	expect_eq "$verb: text_mutex" "$(field '"\(.text_mutex) \(.text_mutex_why)"')" "true null" || return
	expect_eq "getpgrp() after $verb" "$(vm_pgrp web)" "$want"
}

there_and_back() { full apply 4242 && figures && full revert own; }
figures() { echo "# longest pause $(field .longest_pause_us) us, $(field .elapsed_us) us in all"; }

# The kernel changes its own text, so nobody holds text_mutex; and back.
own_ftrace() {
	vm_do web ftrace ksys_sync && vm_do web unftrace || why "text_mutex is not free: $WHY"
}

# All old or all new, as vmpoke says, and old in the end.
settle() {
	verify_clean web || return
	vp_ok --json status web || return
	case $(vm_pgrp web) in
	4242) expect_eq "patches" "$(field '.patches | length')" 1 ;;
	own) expect_eq "patches" "$(field '.patches | length')" 0 ;;
	*) why "getpgrp() is something else" ;;
	esac || return
	own_ftrace || return
	vp_ok revert web "$patch" && expect_eq "getpgrp()" "$(vm_pgrp web)" own
}

# --- cases ---

held() {
	add && vm_do web agent && agent_is ready || return
	vp_ok --json apply web "$patch" || return
	expect_eq "text_mutex without being asked for" "$(field .text_mutex)" null || return
	vp_ok revert web "$patch" || return
	there_and_back && there_and_back && own_ftrace
}

under_load() {
	vm_do web load && there_and_back && there_and_back
}

# The kernel waits for us or we for it, each time; both get done.
against_ftrace() {
	local mark i n
	mark=$(vm_mark web)
	vm_do web toggles ksys_sync || return
	for i in 1 2 3 4; do
		there_and_back || return
	done
	vm_do web untoggle || return
	n=$(tail -n "+$((mark + 1))" "$work/web/console" | tr -d '\r' | sed -n 's/^TOGGLED //p' | tail -n 1)
	echo "# the guest changed its own text ${n:-0} times meanwhile"
	[ "${n:-0}" -ge 3 ] || why "the guest changed its own text only ${n:-0} times"
}

# A patch of the call in pause() and of what follows it: old bytes as they are, new ones that nobody executes.
pause_patch() {
	local addr bytes i len
	vp_ok --json symbols web __x64_sys_pause || return
	addr=$(field '.symbols[0].address')
	read -ra bytes <<<"$(vm_bytes web "$addr" 96)"
	for ((i = 0; i < 80; i++)); do
		[ "${bytes[i]}" != e8 ] || break
	done
	for len in 6 7 8 9 10 11 12; do
		{
			printf 'vmpoke: 1\nname: in-pause\nsites:\n'
			printf '  - { at: __x64_sys_pause+0x%x, kind: bytes, old: "%s", new: "%s" }\n' $i \
				"$(echo "${bytes[@]:i:len}" | tr -d ' ')" "$(printf '90%.0s' $(seq $len))"
		} >"$work/pause.yaml"
		! vp --json check web "$work/pause.yaml" || return 0
	done
	why "no patch can be made of pause(): $ERR"
}

# Somebody sleeps inside: busy, the kernel's own changes get their turn meanwhile; then done.
sleeper() {
	local mark
	pause_patch && vm_do web pause || return
	vm_wait web 120 '^PAUSES' || return
	mark=$(vm_mark web)
	vm_do web toggles ksys_sync || return
	refused 6 'busy.*of pauser.*returns to' apply web "$work/pause.yaml" --agent-use full --timeout 2 || return
	vm_wait web 120 '^TOGGLED 1$' "$mark" || why "the kernel could not change its own text: $WHY" || return
	vm_do web untoggle && vm_do web unpause || return
	vp_ok --json apply web "$work/pause.yaml" --agent-use full || return
	expect_eq "text_mutex, quiescence" "$(field '"\(.text_mutex) \(.quiescence)"')" "true scan" || return
	vp_ok --json revert web in-pause --agent-use full || return
	expect_eq "text_mutex, quiescence" "$(field '"\(.text_mutex) \(.quiescence)"')" "true scan"
}

# What is refused while the guest holds text_mutex is done while we do.
static_key() {
	printf 'vmpoke: 1\nname: stats\nsites:\n  - { at: sched_schedstats, kind: static_key, enable: true }\n' >"$work/key.yaml"
	vp_ok --json apply web "$work/key.yaml" --agent-use full || return
	expect_eq "text_mutex" "$(field .text_mutex)" true && verify_clean web || return
	vp_ok --json revert web stats --agent-use full && expect_eq "text_mutex" "$(field .text_mutex)" true
}

# Nobody who parks, and nobody at all.
without() {
	vm_do web agent-kill || return
	vp_ok --json apply web "$patch" --agent-use full || return
	expect_eq "text_mutex" "$(field .text_mutex)" false || return
	grep -q agent <<<"$(field .text_mutex_why)" || why "why: $(field .text_mutex_why)" || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 && vp_ok revert web "$patch" || return
	vm_do web agent && agent_is ready
}

# At whatever moment of an apply or a revert: done, with the mutex or without.
agent_killed() {
	local i verb want held=0
	for i in 0 1 2 3 4 5; do
		verb=apply want=4242
		[ $((i % 2)) = 0 ] || verb=revert want=own
		agent_is ready || return
		vp --json "$verb" web "$patch" --agent-use full >"$work/reply" &
		sleep "0.$((i * 5))"
		vm_do web agent-kill || return
		wait $! || why "$verb failed" || return
		expect_eq "getpgrp() after $verb" "$(vm_pgrp web)" "$want" && verify_clean web && own_ftrace || return
		vm_do web agent || return
	done
}

# The worker dies; the VM runs, its text is one or the other, and text_mutex is free.
worker_dies() { # POINT
	local died
	daemon_stop && daemon_start "VMPOKE_FAULT=$1" && agent_is ready || return
	died=$(worker_deaths)
	vp --json apply web "$patch" --agent-use full
	until_ok 90 worker_died "$died" || why "the worker did not die at $1" || return
	daemon_stop && daemon_start || return
	agent_is ready && settle || why "$1: $WHY"
}

worker_dies_everywhere() {
	local point
	for point in borrow-attached:1 borrow-decided:1 borrow-deciding:2 borrow-decided:2 poke-site-written:1 poke-verify-recorded:1 borrow-ending:1 poke-resumed:1; do
		worker_dies "$point" || return
	done
}

[ -x "$build/vmpoke-vm" ] || { skip agent-apply "not built"; finish; }
make_initramfs || { not_ok "initramfs" "$WHY"; finish; }
# One thread for all vCPUs: see borrow.sh.
agent_vm_start -q 10 -t single --
status=$?
case $status in
0) ;;
2) skip agent-apply "$WHY"; finish ;;
*) not_ok "the guest starts" "$WHY"; finish ;;
esac
run_case "vmpoked starts" daemon_start
run_case "with text_mutex held" held
run_case "the kernel changes its own text meanwhile" against_ftrace
run_case "somebody sleeps inside a range" sleeper
run_case "a static key" static_key
run_case "without an agent" without
run_case "the agent is killed meanwhile" agent_killed
run_case "the worker dies at each step" worker_dies_everywhere
run_case "under load" under_load
run_case "guest is healthy" vm_healthy web
daemon_stop
finish
