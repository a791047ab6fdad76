#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What must be refused is refused, with the exit code and sentence an operator
# can act on, and nothing is written: the bytes QEMU shows are the same before
# and after, and the journal has no new record. The guest patches itself here
# (kprobe, ftrace), which QEMU 7.2 only gets right with thread=single.
. "$(dirname "$0")/../lib.sh"

setup() {
	vm_start a -s 2 -t single || return
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp" || return
	vp_ok symbols a >/dev/null || return
	echo "$OUT" >"$work/symbols"
	entry=0x$(address_of __x64_sys_getpgrp)
	vp_ok --json probe a || return
	build_id=$(field .build_id)
}

address_of() { awk -v name="$1" '$3 == name { print $1; exit }' "$work/symbols"; }
journal_lines() { cat "$work"/state/journal/*.jsonl 2>/dev/null | wc -l; }

# patch FILE NAME SITES...: writes a patch file; SITES are YAML lines.
patch() {
	local file=$work/$1.yaml name=$1
	shift
	printf 'vmpoke: 1\nname: %s\n' "$name" >"$file"
	printf '%s\n' "$@" >>"$file"
	echo "$file"
}

# refused CODE SENTENCE FILE: apply and check both say no, and nothing is written.
refused() {
	local code=$1 sentence=$2 file=$3 before lines check_code=$1
	[ "$code" != 5 ] || check_code=3
	before=$(vm_bytes a "$entry" 32)
	lines=$(journal_lines)
	vp apply a "$file"
	expect_eq "exit code of apply" "$RC" "$code" || why "$WHY ($ERR$OUT)" || return
	grep -qE -- "$sentence" <<<"$ERR" || why "the sentence is: $ERR" || return
	vp check a "$file"
	expect_eq "exit code of check" "$RC" "$check_code" || why "$WHY ($ERR$OUT)" || return
	expect_eq "guest text" "$(vm_bytes a "$entry" 32)" "$before" || return
	expect_eq "journal records" "$(journal_lines)" "$lines" || return
	expect_eq "VM" "$(vm_status a)" running
}

entry_return='  - { at: __x64_sys_getpgrp, kind: return, value: 4242 }'

wrong_old_bytes() {
	refused 5 'old bytes|expected|holds' "$(patch wrong-old 'sites:' \
		'  - { at: __x64_sys_getpgrp, kind: bytes, old: "0f 1f 44 00 01", new: "66 0f 1f 44 00" }')"
}

wrong_build_id() {
	refused 5 'build-id' "$(patch wrong-build "kernel: { build-id: \"$(tr 0-9a-f 1-9a-f0 <<<"$build_id")\" }" 'sites:' "$entry_return")"
}

wrong_release() {
	refused 5 'release' "$(patch wrong-release 'kernel: { release: "5.10.*" }' 'sites:' "$entry_return")"
}

unknown_symbol() {
	refused 5 "unknown symbol 'no_such_function'|no_such_function" "$(patch unknown 'sites:' \
		'  - { at: no_such_function, kind: return, value: 1 }')"
}

ambiguous_symbol() {
	local name
	name=$(awk '$2 ~ /[tT]/ { if (seen[$3]++ == 1) { print $3; exit } }' "$work/symbols")
	[ -n "$name" ] || why "this kernel has no ambiguous text symbol" || return
	refused 5 "$name.*(ambiguous|[0-9]+ )|ambiguous.*$name" "$(patch ambiguous 'sites:' \
		"  - { at: \"$name\", kind: return, value: 1 }")"
}

mid_instruction() {
	refused 5 'middle|mid-instruction|boundary|instruction' "$(patch mid 'sites:' \
		'  - { at: __x64_sys_getpgrp+0x1, kind: bytes, old: "1f 44 00 00", new: "90 90 90 90" }')"
}

with_kprobe() {
	local status
	vm_do a kprobe __x64_sys_getpgrp+5 || return
	expect_eq "an int3 is there" "$(vm_bytes a $((entry + 5)) 1)" cc || return
	refused 5 'kprobe|0xcc' "$(patch on-kprobe 'sites:' "$entry_return")"
	status=$?
	vm_do a unkprobe && [ $status = 0 ]
}

# Registered and not in force: the text shows nothing of it. The kernel would put back its copy of what was there.
with_sleeping_kprobe() {
	local status
	vm_do a kprobe-asleep __x64_sys_getpgrp+5 || return
	refused 5 'the guest has a kprobe at' "$(patch asleep 'sites:' "$entry_return")"
	status=$?
	vm_do a unkprobe && [ $status = 0 ] || return
	vp_ok apply a "$work/asleep.yaml" && vm_do a kprobe-asleep __x64_sys_getpgrp+5 || return
	vp revert a asleep
	expect_eq "exit code of revert" "$RC" 5 && grep -q 'the guest has a kprobe at' <<<"$ERR" || why "$RC, $ERR" || return
	vm_do a unkprobe && vp_ok revert a asleep
}

with_ftrace() {
	local status
	# The three names of this address share one ftrace record, filed under the first.
	vm_do a ftrace __do_sys_getpgrp || return
	expect_eq "ftrace's call is there" "$(vm_bytes a "$entry" 1)" e8 || return
	refused 5 'ftrace|traced' "$(patch on-ftrace 'sites:' "$entry_return")" &&
		refused 5 'ftrace|traced|0xe8' "$(patch on-ftrace-jump 'sites:' \
			'  - { at: __x64_sys_getpgrp, kind: jump, to: __x64_sys_getppid }')"
	status=$?
	vm_do a unftrace && [ $status = 0 ]
}

overlapping_sites() {
	refused 5 'overlap|shares bytes' "$(patch overlap 'sites:' "$entry_return" \
		'  - { at: __x64_sys_getpgrp+0x5, kind: nop }')"
}

overlapping_patches() {
	local first second status
	first=$(patch first 'sites:' "$entry_return")
	second=$(patch second 'sites:' '  - { at: __x64_sys_getpgrp, kind: return, value: 7 }')
	vp_ok apply a "$first" || return
	refused 5 'first|overlap' "$second"
	status=$?
	vp_ok revert a first && [ $status = 0 ]
}

outside_text() {
	refused 5 'text' "$(patch rodata 'sites:' \
		"  - { at: 0x$(address_of linux_banner), kind: bytes, old: \"4c\", new: \"4d\" }")" &&
		refused 5 'text' "$(patch user 'sites:' '  - { at: 0x400000, kind: nop }')"
}

freed_text() {
	refused 5 'text|init' "$(patch init 'sites:' '  - { at: start_kernel, kind: return, value: 0 }')"
}

unknown_key() {
	refused 2 "line.*vlaue|:[0-9]+:.*vlaue" "$(patch typo 'sites:' \
		'  - { at: __x64_sys_getpgrp, kind: return, vlaue: 1 }')"
}

not_yaml() {
	printf '{[\n' >"$work/broken.yaml"
	refused 2 'broken.yaml' "$work/broken.yaml"
}

unknown_vm() {
	vp apply nobody "$root/tests/demo.yaml"
	expect_eq "exit code" "$RC" 4 || return
	grep -q "no VM named 'nobody'" <<<"$ERR" || why "the sentence is: $ERR"
}

unknown_patch() {
	vp revert a never-heard-of
	expect_eq "exit code" "$RC" 4 || why "$WHY ($ERR)"
}

unreachable_vm() {
	vp add ghost --qmp "$work/no-such-socket"
	expect_eq "exit code" "$RC" 1 || why "$WHY ($ERR)" || return
	grep -q 'no-such-socket' <<<"$ERR" || why "the sentence is: $ERR" || return
	vp_ok --json list || return
	! grep -q ghost <<<"$OUT" || why "an unreachable VM was registered"
}

no_daemon() {
	OUT=$("$build/vmpoke" -c "$work/nobody.sock" list 2>"$work/stderr")
	expect_eq "exit code" $? 7 || return
	grep -q 'vmpoked' "$work/stderr" || why "the sentence is: $(<"$work/stderr")"
}

paused_vm() {
	vm_mon a '{"execute": "stop"}' >/dev/null
	vp_ok --json apply a "$root/tests/demo.yaml" || return
	expect_eq changed "$(field .changed)" true || return
	expect_eq "VM after apply" "$(vm_status a)" paused || return
	vp_ok --json revert a getpgrp-is-4242 || return
	expect_eq "VM after revert" "$(vm_status a)" paused || return
	vm_mon a '{"execute": "cont"}' >/dev/null
	expect_eq "getpgrp()" "$(vm_pgrp a)" own
}

already_applied() {
	local lines
	vp_ok --json apply a "$root/tests/demo.yaml" || return
	lines=$(journal_lines)
	vp_ok --json apply a "$root/tests/demo.yaml" || return
	expect_eq changed "$(field .changed)" false || return
	expect_eq state "$(field .state)" applied || return
	vp_ok check a "$root/tests/demo.yaml" || return
	expect_eq "journal records" "$(journal_lines)" "$lines" || return
	vp_ok --json revert a getpgrp-is-4242 || return
	expect_eq changed "$(field .changed)" true || return
	vp_ok --json revert a getpgrp-is-4242 || return
	expect_eq "changed by a second revert" "$(field .changed)" false
}

read_only_socket() {
	OUT=$("$build/vmpoke" -c "$work/run/control-ro.sock" apply a "$root/tests/demo.yaml" 2>"$work/stderr")
	[ $? != 0 ] || why "the read-only socket lets a patch through" || return
	"$build/vmpoke" -c "$work/run/control-ro.sock" list >/dev/null 2>"$work/stderr" || why "$(<"$work/stderr")"
}

guest_untouched() {
	vm_healthy a || return
	expect_eq "getpgrp()" "$(vm_pgrp a)" own || return
	verify_clean a
}

run_case "guest registered" setup
[ $failures = 0 ] || finish
for name in wrong_old_bytes wrong_build_id wrong_release unknown_symbol ambiguous_symbol mid_instruction with_kprobe \
	with_sleeping_kprobe with_ftrace overlapping_sites overlapping_patches outside_text freed_text unknown_key not_yaml unknown_vm \
	unknown_patch unreachable_vm no_daemon paused_vm already_applied read_only_socket guest_untouched; do
	run_case "${name//_/ }" "$name"
done
run_case "daemon stops" daemon_stop
finish
