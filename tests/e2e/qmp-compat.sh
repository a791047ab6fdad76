#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same requests, well-formed and broken, sent to a live QEMU and to vmpoked
# give the same error classes; and QEMU's own client drives vmpoked, where its
# sources can be had.
. "$(dirname "$0")/../lib.sh"

setup() {
	vm_start a -s 1 || return
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp"
}

run_case "guest registered" setup
[ $failures = 0 ] || finish
"$python" "$root/tests/e2e/qmp_compat.py" "$root/tests/e2e/qmp-requests.json" "$work/a/mon" "$sock" >"$work/results" 2>&1
status=$?
grep -E '^(ok|not ok) ' "$work/results"
failures=$((failures + $(grep -c '^not ok' "$work/results")))
if [ $status -gt 1 ] || ! grep -q '^ok' "$work/results"; then
	not_ok "comparison" "ended with status $status: $(tail -n 1 "$work/results")"
fi

# A whole patch life by QEMU's shell: what works with QEMU works with vmpoked.
by_qmp_shell() {
	vp_ok apply a "$root/tests/demo.yaml" || return
	vp_ok revert a getpgrp-is-4242 || return
	printf '%s\n' query-version query-commands 'query-vm vm=a' 'vm-probe vm=a' \
		'patch-apply vm=a patch=getpgrp-is-4242' 'query-patches vm=a' 'patch-verify vm=a' \
		'patch-revert vm=a patch=getpgrp-is-4242 timeout=5000' 'query-vm vm=nobody' |
		PYTHONPATH=$1 timeout 60 "$python" -m qemu.qmp.qmp_shell "$sock" >"$work/shell" 2>&1 ||
		why "qmp-shell ended with $?: $(tail -n 1 "$work/shell")" || return
	grep -o '{.*}' "$work/shell" >"$work/shell.json"
	expect_eq "answers" "$(jq -r 'if .error then .error.class else "return" end' "$work/shell.json" | uniq -c | tr -s ' \n' ' ')" \
		" 8 return 1 DeviceNotFound " || return
	expect_eq "states" "$(jq -r '.return | objects | .state? // empty' "$work/shell.json" | tr '\n' ' ')" \
		"running applied reverted "
}

if shell=$("$root/tests/fetch" qmp-shell 2>>"$work/fetch.log"); then
	run_case "QEMU's own qmp-shell applies and reverts a patch" by_qmp_shell "$shell"
else
	skip "QEMU's own qmp-shell" "its source package cannot be had"
fi
run_case "daemon answers after all that" daemon_answers
run_case "daemon stops" daemon_stop
finish
