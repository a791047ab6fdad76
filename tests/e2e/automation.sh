#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The examples of docs/automation.md, taken from the page and run as they stand there,
# with clients that know nothing of vmpoke: socat and jq, and QEMU's own Python package
# and qmp-shell, out of its source package.
. "$(dirname "$0")/../lib.sh"
page=$root/docs/automation.md

setup() {
	vm_start web1 -s 1 || return
	daemon_start || return
	vp_ok add web1 --qmp "$work/web1/qmp" || return
	cp "$root/tests/demo.yaml" "$work/getpgrp.yaml" || return
	cd "$work" || return
	export VMPOKE_SOCKET=$sock
}

# example NAME: that block of the page.
example() {
	awk -v name="example=$1" '/^```/ { on = !on && $NF == name; next } on' "$page" >"$work/example.$1"
	[ -s "$work/example.$1" ] || why "docs/automation.md has no example '$1'"
}

by_shell() {
	example shell || return
	timeout 120 bash -eu -o pipefail "$work/example.shell" >"$work/said" 2>"$work/said.err" ||
		why "it ends with $?: $(<"$work/said.err")" || return
	expect_eq "what it says" "$(sed 's/[0-9]* us$/N us/' "$work/said" | tr '\n' ';')" \
		"getpgrp-is-4242: N us;getpgrp-is-4242 applied;true;" || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" own
}

by_qmp_shell() {
	example qmp-shell || return
	sed -n 's/^(QEMU) //p' "$work/example.qmp-shell" >"$work/lines"
	PYTHONPATH=$client timeout 120 "$python" -m qemu.qmp.qmp_shell "$sock" <"$work/lines" >"$work/said" 2>&1 ||
		why "it ends with $?: $(tail -n 1 "$work/said")" || return
	grep -o '{.*}' "$work/said" >"$work/said.json"
	expect_eq "answers" "$(jq -s 'map(has("return")) | all and length == '"$(wc -l <"$work/lines")" "$work/said.json")" true ||
		why "$WHY: $(grep -m1 error "$work/said")" || return
	expect_eq "states" "$(jq -r '.return | objects | .state? // empty' "$work/said.json" | tr '\n' ' ')" "running applied reverted "
}

by_python() {
	example python || return
	PYTHONPATH=$client timeout 120 "$python" "$work/example.python" >"$work/said" 2>&1 ||
		why "it ends with $?: $(tail -n 1 "$work/said")" || return
	expect_eq "what it says" "$(sed 's/^refused: .*overlap.*/refused/' "$work/said" | tr '\n' ';')" \
		"getpgrp-is-4242 applied stopped changed;as journaled;refused;getpgrp-is-4242 reverted;" || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" own
}

dashboard_shows() { # LINE: the last table has it
	tac "$work/table" 2>/dev/null | sed '1d; /^$/,$d' | grep -qx -- "$1"
}

by_dashboard() {
	local pid
	example dashboard || return
	VMPOKE_SOCKET=$work/run/control-ro.sock PYTHONPATH=$client timeout 300 setpriv --pdeathsig KILL \
		"$python" "$work/example.dashboard" >"$work/table" 2>"$work/table.err" &
	pid=$!
	until_ok 90 dashboard_shows 'web1 running - -' || why "no table: $(tail -n 1 "$work/table.err")" || return
	vp_ok apply web1 getpgrp.yaml || return
	until_ok 90 dashboard_shows 'web1 running getpgrp-is-4242=applied -' || why "applied is not seen: $(tail -n 2 "$work/table")" || return
	grep -q '^web1 running .* patch-apply$' "$work/table" || why "the job was not seen" || return
	vm_mon web1 '{"execute": "stop"}' >/dev/null
	until_ok 90 dashboard_shows 'web1 paused getpgrp-is-4242=applied -' || why "paused is not seen: $(tail -n 2 "$work/table")" || return
	vm_mon web1 '{"execute": "cont"}' >/dev/null
	vp_ok revert web1 getpgrp-is-4242 || return
	until_ok 90 dashboard_shows 'web1 running - -' || why "reverted is not seen: $(tail -n 2 "$work/table")" || return
	vp_ok remove web1 || return
	vp_ok add web2 --qmp "$work/web1/qmp" || return
	until_ok 90 dashboard_shows 'web2 running - -' || why "web2 is not seen: $(tail -n 2 "$work/table")" || return
	! dashboard_shows 'web1 .*' || why "web1 is still there" || return
	kill -0 $pid 2>/dev/null || why "it ended: $(tail -n 1 "$work/table.err")" || return
	kill $pid
	wait $pid 2>/dev/null
	vp_ok remove web2 && vp_ok add web1 --qmp "$work/web1/qmp"
}

run_case "a guest" setup
[ $failures = 0 ] || finish
if command -v socat >/dev/null; then run_case "example: shell" by_shell; else skip "example: shell" "no socat here"; fi
if client=$("$root/tests/fetch" qmp-shell 2>>"$work/fetch.log"); then
	vp_ok apply web1 getpgrp.yaml && vp_ok revert web1 getpgrp-is-4242 || not_ok "a patch known by name" "$WHY"
	run_case "example: QEMU's qmp-shell" by_qmp_shell
	run_case "example: QEMU's Python package" by_python
	run_case "example: a dashboard from events alone" by_dashboard
else
	skip "examples with QEMU's own clients" "its source package cannot be had"
fi
run_case "the guest is well" vm_healthy web1
run_case "daemon stops" daemon_stop
finish
