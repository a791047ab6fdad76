#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Kind `function`: functions compiled here put into a running stock kernel, through the context that
# its agent lends. A payload replaces __do_sys_getpgrp, one in which a task sleeps is not freed
# before the task has left, what cannot work is refused. VMPOKE_FULL=1: the worker dies at every step.
# One CPU: the time in which the agent answers and its thread comes is part of what is tested.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip function "no guest kernel with modules"; finish; }
# shellcheck source=tests/e2e/function-lib.sh
. "$root/tests/e2e/function-lib.sh"

compile() { # NAME [FLAGS...]; the text on stdin
	local name=$1
	shift
	cat >"$work/$name.c"
	gcc "${kernel_flags[@]}" "$@" -c "$work/$name.c" -o "$work/$name.o" 2>"$work/gcc.log" || why "gcc: $(head -n 1 "$work/gcc.log")"
}

objects() {
	compile number <<-'END' || return
		extern int int_sqrt(unsigned long);
		static const int table[] = { 100, 200, 300, 4242 };
		static __attribute__((noinline)) int pick(unsigned long i) { return table[int_sqrt(i)]; }
		long number(void);
		long number(void) { return pick(9); }
	END
	compile sleeper <<-'END' || return
		extern unsigned long msleep_interruptible(unsigned int);
		long sleeper(void);
		long sleeper(void) { msleep_interruptible(3600000); return 4242; }
	END
	patch_of number __do_sys_getpgrp number
	patch_of sleeper __do_sys_getpgrp sleeper
}

# Without an agent there is nobody who could get memory.
no_agent() {
	add || return
	vp_ok check web "$work/number.yaml" || return
	refused 5 "only its agent can have it do so: no agent answers" apply web "$work/number.yaml" || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" own && payloads "" || return
	vm_do web agent && agent_is ready
}

round() {
	vp_ok --json check web "$work/number.yaml" || return
	expect_eq "sites" "$(field '.sites_detail[0] | "\(.symbol) \(.old)"')" "__do_sys_getpgrp+$pad 0f1f440000" || return
	expect_eq "getpgrp() after a check" "$(vm_pgrp web)" own && payloads "" || return
	vp_ok --json apply web "$work/number.yaml" || return
	echo "# apply: $(field .elapsed_us) us, pause $(field .longest_pause_us) us"
	expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 && verify_clean web && payloads in-use || return
	vp_ok --json apply web "$work/number.yaml" || return
	expect_eq "changed by the second" "$(field .changed)" false || return
	vp_ok --json revert web number || return
	payload_freed || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" own && payloads "" || return
	# By name: the object was kept beside the text.
	cmp -s "$work/number.o" "$work/state/patches/web/number.o" || why "the object was not stored" || return
	vp_ok apply web number && expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 || return
	vp_ok --json revert web "$work/number.yaml" && payload_freed && payloads ""
}

# Plain `gcc -c` of this distribution: position-independent, no kernel flag at all.
plain() {
	printf 'extern int int_sqrt(unsigned long);\nlong plain(void);\nlong plain(void) { return int_sqrt(4242 * 4242); }\n' >"$work/plain.c"
	gcc -O2 -c "$work/plain.c" -o "$work/plain.o" && patch_of plain __do_sys_getpgrp plain || return
	vp_ok apply web "$work/plain.yaml" && expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 || return
	vp_ok --json revert web plain && payload_freed && payloads ""
}

# Who is in the payload is named, and it stays until he has left.
sleeper() {
	local mark pid
	vp_ok apply web "$work/sleeper.yaml" || return
	mark=$(vm_mark web)
	vm_do web sleeper || return
	pid=$(tail -n "+$((mark + 1))" "$work/web/console" | tr -d '\r' | sed -n 's/^SLEEPER //p')
	vp_ok --json revert web sleeper || return
	expect_eq "the payload" "$(field '.payloads[0] | "\(.state) \(.blocker.comm) \(.blocker.pid) \(.blocker.where)"')" \
		"kept getpgrp-once $pid task stack" || why "$WHY: $(field '.payloads[0].why')" || return
	echo "# $(field '.payloads[0].why')"
	payloads unused || return
	# Something else may be applied and reverted meanwhile.
	vp_ok apply web "$work/number.yaml" && payloads "unused in-use" || return
	vm_do web unsleeper || return
	vp_ok --json revert web number || return
	payload_freed && payloads "" && expect_eq "getpgrp()" "$(vm_pgrp web)" own
}

# A task asleep inside an excluded range is who the answer names.
busy() {
	local mark pid
	cat >"$work/busy.yaml" <<-'END'
		vmpoke: 1
		name: busy
		exclude: [ { from: fifo_open, to: fifo_open+0x80 }, { from: fifo_open+0x80, to: fifo_open+0x300 } ]
		sites:
		  - { at: __x64_sys_getpgrp, kind: return, value: 4242 }
	END
	mark=$(vm_mark web)
	vm_do web nap || return
	pid=$(tail -n "+$((mark + 1))" "$work/web/console" | tr -d '\r' | sed -n 's/^NAP //p')
	refused 6 "busy: task stack of cat \(pid $pid\) returns to fifo_open\+0x[0-9a-f]+ inside it" apply web "$work/busy.yaml" --timeout 0.5 || return
	vp --json qmp '{"execute": "patch-apply", "arguments": {"vm": "web", "patch": "busy", "timeout": 300}}'
	expect_eq "blocker" "$(jq -r '.. | .blocker? // empty | "\(.comm) \(.pid) \(.where)"' <<<"$OUT$ERR" | head -n 1)" \
		"cat $pid task stack" || why "$WHY: $OUT$ERR" || return
	vm_do web unnap && vp_ok apply web "$work/busy.yaml" && vp_ok revert web busy
}

# What must not get in; each says why.
refusals() {
	compile bad <<-'END' || return
		extern long no_such_function(void);
		long missing(void), fits(void);
		long missing(void) { return no_such_function(); }
		long fits(void) { return 1; }
	END
	patch_of missing __do_sys_getpgrp missing bad.o
	refused 5 "'no_such_function' is not in the guest's kernel" apply web "$work/missing.yaml" || return
	compile var -ffunction-sections <<<'int v; long variable(void); long variable(void) { return ++v; }' || return
	patch_of variable __do_sys_getpgrp variable var.o
	refused 5 "no memory for variables" apply web "$work/variable.yaml" || return
	printf 'extern long int_sqrt(long); long red(int a); long red(int a) { volatile int b[4]; b[a & 3] = a; return b[1]; }\n' >"$work/red.c"
	gcc -O0 -fno-stack-protector -c "$work/red.c" -o "$work/red.o" && patch_of red __do_sys_getpgrp red || return
	refused 3 "below the stack pointer.*-mno-red-zone" check web "$work/red.yaml" || return
	patch_of nothing __do_sys_getpgrp nothing number.o
	refused 5 "defines no function 'nothing'" apply web "$work/nothing.yaml" || return
	patch_of text __do_sys_getpgrp number number.c
	refused 2 "number.c: not a 64-bit object file" apply web "$work/text.yaml" || return
	patch_of gone __do_sys_getpgrp number gone.o
	refused 4 "cannot read .*gone.o" apply web "$work/gone.yaml" || return
	payloads ""
}

# The worker dies; the next one knows of the memory, and gives it back.
worker_dies() { # POINT VERB
	local died
	[ "$2" = apply ] || vp_ok apply web "$work/number.yaml" || return
	daemon_stop && daemon_start "VMPOKE_FAULT=$1:1" && agent_is ready || return
	died=$(worker_deaths)
	vp --json "$2" web "$work/number.yaml"
	until_ok 90 worker_died "$died" || why "the worker did not die at $1" || return
	daemon_stop && daemon_start || return
	agent_is ready && verify_clean web || return
	vp_ok apply web "$work/number.yaml" && expect_eq "getpgrp()" "$(vm_pgrp web)" 4242 || return
	vp_ok --json revert web "$work/number.yaml" || return
	expect_eq "getpgrp()" "$(vm_pgrp web)" own && payloads ""
}

rebooted() {
	local mark
	vp_ok apply web "$work/number.yaml" || return
	mark=$(vm_mark web)
	vm_mon web '{"execute": "system_reset"}' >/dev/null
	vm_wait web 240 '^UP ' "$mark" || return
	vp_ok probe web && payloads "" || return
	vm_do web agent && agent_is ready
}

# The guest's own tracers where a payload has been.
own_use() { # WHERE THE FIRST INSTRUCTION BEHIND THE TRACING PAD IS
	payloads "" || return
	vm_do web ftrace __do_sys_getpgrp && expect_eq "getpgrp() traced" "$(vm_pgrp web)" own && vm_do web unftrace || return
	vm_do web kprobe __do_sys_getpgrp+$1 && expect_eq "getpgrp() with a kprobe" "$(vm_pgrp web)" own && vm_do web unkprobe || return
	vm_healthy web
}

# The newer kernel, which has the drivers of the agent's port built in.
start_newer() {
	guest=$("$root/tests/fetch" guest-6.12 2>>"$work/fetch.log") || why "no kernel 6.12 with modules" || return 2
	vm_kill web
	rm -rf "$work/web" "$work/tree" "$work/guest" "$work/state" "$work/run"
	guest_dir=$plain_guest
	pad=0x4 # behind an ENDBR64
	make_initramfs failover || return 1
	agent_vm_start -q 10 -t single --
}

newer() {
	local status
	WHY=
	start_newer
	status=$?
	case $status in
	0) ;;
	2) skip "Linux 6.12" "$WHY"; return ;;
	*) not_ok "Linux 6.12: the guest starts" "$WHY"; return ;;
	esac
	run_case "Linux 6.12: vmpoked starts" daemon_start
	run_case "Linux 6.12: no agent, no memory" no_agent
	run_case "Linux 6.12: a function of ours in place of the kernel's, and back" round
	run_case "Linux 6.12: somebody sleeps in the payload" sleeper
	run_case "Linux 6.12: the guest's own use afterwards" own_use 0x9
	daemon_stop
}

pad=0x0 plain_guest=$guest_dir
start_guest
case $? in
0) ;;
2) skip function "$WHY"; finish ;;
*) not_ok "the guest starts" "$WHY"; finish ;;
esac
run_case "vmpoked starts" daemon_start
run_case "gcc makes objects" objects
run_case "no agent, no memory" no_agent
run_case "a function of ours in place of the kernel's, and back" round
run_case "plain gcc -c" plain
run_case "somebody sleeps in the payload: kept, who is named, then freed" sleeper
run_case "busy says who" busy
run_case "what is refused" refusals
if [ -n "${VMPOKE_FULL-}" ]; then
	run_case "the worker dies with memory allocated" worker_dies payload-allocated apply
	run_case "the worker dies with it recorded" worker_dies payload-recorded apply
	run_case "the worker dies with the detour half written" worker_dies poke-site-written apply
	run_case "the worker dies while it looks who is inside" worker_dies payload-paused revert
	run_case "the worker dies with it freed" worker_dies payload-freed revert
	run_case "the guest is rebooted" rebooted
else
	skip "the worker dies at each step, the guest is rebooted" "only with VMPOKE_FULL=1"
fi
run_case "the guest's own use afterwards" own_use 0x5
daemon_stop
newer
finish
