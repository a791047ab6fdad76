#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest changes its own text all the time, in every way a stock kernel has: all of its functions traced and
# not, kprobes, keys behind sysctls and events, a module loaded and unloaded. Meanwhile we apply and revert one
# patch of each kind that needs nothing of the guest. We may be refused or told to wait, and nothing else; the guest
# complains of nothing; once both are done its text is what it was. QEMU 10: older ones lose
# patches a guest makes to itself. VMPOKE_FULL=1: 30 minutes; VMPOKE_CHURN=SECONDS: so long.
. "$(dirname "$0")/../lib.sh"
seconds=${VMPOKE_CHURN:-$([ -n "${VMPOKE_FULL-}" ] && echo 1800 || echo 30)}
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip churn "no guest kernel with modules"; finish; }
. "$root/tests/e2e/agent-lib.sh"
list=$root/build/tests/list-alternatives
declare -A tally=() code=([0]="done" [5]=refused [6]=busy)

setup() {
	make_initramfs virtio_ring virtio failover net_failover virtio_net || return
	# Where vCPUs get little time all functions cannot be traced within the 20 s after which the kernel calls it a lockup.
	vm_start a -q 10 -s 2 -c "vmtest=load watchdog_thresh=60" || return
	image=$(kernel_image)
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp" || return
	vp_ok symbols a || return
	echo "$OUT" >"$work/symbols"
}

address_of() { awk -v name="$1" '$3 == name { print $1; exit }' "$work/symbols"; }

patch() { # NAME SITES...
	printf 'vmpoke: 1\nname: %s\nsites:\n' "$1" >"$work/$1.yaml"
	printf '  - { %s }\n' "${@:2}" >>"$work/$1.yaml"
	patches+=("$1")
}

# The one instruction behind the tracing pad of a function nobody calls, as it is.
instruction() { # FUNCTION
	printf 'vmpoke: 1\nname: look\nsites:\n  - { at: %s+0x5, kind: nop }\n' "$1" >"$work/look.yaml"
	vp_ok --json check a "$work/look.yaml" && field '.sites_detail[0].old'
}

# Offset of the mov of 99: b8+r 63 00 00 00.
mov_of_99() {
	local hex i
	hex=$(vm_bytes a "0x$(address_of __x64_sys_sched_get_priority_max)" 128 | tr -d ' ')
	for ((i = 0; i < 120; i++)); do
		[[ ${hex:i*2:10} != b[89a-f]63000000 ]] || { printf '0x%x' $i; return; }
	done
	return 1
}

# Where clear_page_orig is the first of the forms: the kernel clears a page.
place_of_clear_page() {
	local original
	original=$(printf %x $((0x$(address_of clear_page_orig) - 0x$(address_of _text))))
	"$list" "$image" | awk -v call="$original" '$5 == call && $4 == 1 { print $1; exit }'
}

write_patches() {
	local old clear
	patches=()
	patch return 'at: __x64_sys_getpgrp, kind: return, value: 4242'
	patch nop 'at: __x64_sys_sched_rr_get_interval+0x5, kind: nop'
	old=$(instruction __x64_sys_sched_get_priority_min) && [ -n "$old" ] || why "no instruction to replace: $ERR" || return
	patch bytes "at: __x64_sys_sched_get_priority_min+0x5, kind: bytes, old: \"$old\", new: \"$(printf '90%.0s' $(seq $((${#old} / 2))))\""
	patch immediate "at: __x64_sys_sched_get_priority_max+$(mov_of_99), kind: immediate, value: 77"
	patch static-key 'at: sched_schedstats, kind: static_key, enable: true'
	patch module-key 'at: bpf_stats_enabled_key, kind: static_key, enable: true'
	patch static-call 'at: tp_func_task_rename, kind: static_call, to: null'
	# Without a tracing pad: on one a jump and the guest's tracer exclude each other (docs/patches.md).
	patch jump 'at: clear_page_erms, kind: jump, to: clear_page_rep'
	clear=$(place_of_clear_page) && [ -n "$clear" ] || why "no place clears a page" || return
	patch alternative "at: 0x$(printf %x $((0x$(address_of _text) + 0x$clear))), kind: alternative, choose: original"
}

# The image of the kernel, physically contiguous, as QEMU sees it.
dump() { # FILE
	local gpa
	gpa=$(vm_hmp a "gva2gpa 0x$(address_of _stext)" | sed -n 's/^gpa: //p')
	[ -n "$gpa" ] || why "gva2gpa says nothing" || return
	vm_mon a "$(jq -cn --argjson v $((gpa)) --argjson s $((0x$(address_of _etext) - 0x$(address_of _stext))) \
		--arg f "$work/$1" '{execute: "pmemsave", arguments: {val: $v, size: $s, filename: $f}}')" | grep -q '"return"' ||
		why "pmemsave failed"
}

# What came of it, by class; nothing but done, so already, refused and busy is to come.
step() { # PATCH VERB ARGUMENTS...
	local class rule
	vp -v --json "${@:2}" --timeout 2
	rule=$(sed -n 's/^rule: //p' <<<"$ERR" | tail -n 1)
	class=${code[$RC]-}${rule:+ ($rule)}
	[ -n "${code[$RC]-}" ] || why "$2 of $1 exits $RC: $ERR" || return
	[ $RC != 0 ] || [ "$(field .changed)" != false ] || class="so already"
	tally[$1 $2 $class]=$((${tally[$1 $2 $class]-0} + 1))
	[ -z "$rule" ] || echo "$ERR" >"$work/said.$rule"
}

is_in() { vp_ok --json status a && [ -n "$(field ".patches[] | select(.name == \"$1\") | .name")" ]; }

# The way that is at work ends its round: all functions traced and not takes an emulated guest minutes when it gets
# half a CPU (on a loaded machine 60 s were not enough, with nothing of ours in it).
calm() { VM_DO_LIMIT=900 vm_do a calm; }

# Nobody else changes these patches: what cannot be taken out now can be later.
churned() {
	local end=$((SECONDS + seconds)) name vmlinux
	vm_do a selfpatch "$1" || return
	while [ $SECONDS -lt $end ]; do
		for name in "${patches[@]}"; do
			vmlinux=()
			[ $name != alternative ] || vmlinux=(--vmlinux "$image")
			step "$name" apply a "$work/$name.yaml" "${vmlinux[@]}" || return
			[ $name != return ] || step count count a __x64_sys_getpgrp --seconds 0.1 || return
			! is_in "$name" || step "$name" revert a "$name" || return
		done
		vm_healthy a || return
	done
	vm_do a calm || return
	vm_healthy a
}

# The guest's own ways once, before anything of ours: what they leave behind for good is not ours.
guest_alone() {
	vm_do a selfpatch "$ways" && sleep 5 && calm && vm_healthy a && dump before
}

# Everything is taken out, with nobody in the way any more. What the guest has put back itself, in the middle of its
# last round, is refused, and its text has to be the guest's own all the same. A key that a module used which the
# guest has unloaded is refused as well, and the text of the kernel that it changed is still ours then.
all_out() {
	local name left=0 ours=
	calm || return # also when the changes were cut short
	for name in "${patches[@]}"; do
		is_in "$name" || continue
		vp -v revert a "$name" --timeout 60 && continue
		grep -qE '^rule: (changed-by-guest|module-gone)$' <<<"$ERR" || why "revert of $name exits $RC: $ERR" || return
		! grep -qx 'rule: module-gone' <<<"$ERR" || ours=$name
		echo "# left to the guest: $ERR" | head -n 1
		left=$((left + 1))
	done
	WHY=
	vp_ok --json status a || return
	expect_eq "patches that are in" "$(field '.patches | length')" $left || return
	[ $left != 0 ] || verify_clean a || return
	[ -z "$ours" ] || { expect_eq "what is ours" "$ours" module-key && vm_healthy a; return; }
	dump after
	cmp "$work/before" "$work/after" >"$work/cmp" || why "the text differs from what it was: $(<"$work/cmp")" || return
	expect_eq "getpgrp()" "$(vm_pgrp a)" own && vm_beats a && vm_healthy a
}

# A short run on a loaded machine may leave a kind no turn.
every_kind_was_in() {
	local name
	[ "$seconds" -ge 300 ] || return 0
	for name in "${patches[@]}"; do
		[ "${tally[$name apply done]-0}" -gt 0 ] || why "$name was never applied" || return
	done
}

figures() {
	local key
	for key in "${!tally[@]}"; do
		echo "# $key: ${tally[$key]}"
	done | sort
	tr -d '\r' <"$work/a/console" | sed -n 's/^SELFPATCHED \(.*\) \(.*\) \(.*\)/# guest: \1 \2 times, failed \3/p' | tail -n 4
}

ways="ftrace kprobes keys modules"
setup
case $? in
0) ;;
2) skip churn "$WHY"; finish ;;
*) not_ok "the guest starts" "$WHY"; finish ;;
esac
run_case "a patch of each kind" write_patches
run_case "the guest alone" guest_alone
[ $failures = 0 ] || finish
run_case "$seconds s of changes from both sides" churned "$ways"
run_case "every kind was in" every_kind_was_in
run_case "all out, and the text is the guest's own" all_out
figures
run_case "daemon stops" daemon_stop
finish
