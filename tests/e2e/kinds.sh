#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Kinds that keep the guest's own data true to its text. A static key and a static
# call are switched by us, act, and are switched by the guest afterwards, which
# BUG()s when it does not find what it would have written itself. Differential: a
# number of tracepoints, each with a key and a call of its own, is switched by the
# guest and by us; the whole text and the keys must end the same. thread=single:
# QEMU 7.2's TCG loses patches a guest makes to itself otherwise.
# VMPOKE_FULL=1: 200 tracepoints instead of 40.
. "$(dirname "$0")/../lib.sh"
[ -n "${VMPOKE_FULL-}" ] && tracepoints=200 || tracepoints=40
VM_DO_LIMIT=900 # the guest switches them one by one, and may have half a CPU

# patch NAME SITES...: writes a patch file; SITES are YAML lines.
patch() {
	local file=$work/$1.yaml name=$1
	shift
	printf 'vmpoke: 1\nname: %s\nsites:\n' "$name" >"$file"
	printf '%s\n' "$@" >>"$file"
	echo "$file"
}

# The line a guest command printed under that name.
said() { # WORD COMMAND...
	local word=$1 mark
	shift
	mark=$(vm_mark a)
	vm_do a "$@" || return
	tail -n "+$((mark + 1))" "$work/a/console" | tr -d '\r' | sed -n "s/^$word //p" | head -n 1
}

address_of() { awk -v name="$1" '$3 == name { print $1; exit }' "$work/symbols"; }

knob=/proc/sys/kernel/sched_schedstats
# What the kernel says goes through a branch of the key itself.
schedstats() { expect_eq "$knob" "$(said SHOW show $knob)" "$1"; }

# The one the modules are of: the archive may have a newer one of that name since.
kernel_image() { # KERNEL
	if [ -n "$modules" ]; then echo "$guest"/boot/vmlinuz-*; else "$root/tests/fetch" "kernel-$1"; fi
}

# Modules with jumps of a key of the kernel itself, loaded by the guest's init.
with_modules() { # KERNEL
	local tree=$work/tree module n=10
	guest=$("$root/tests/fetch" "guest-$1" 2>>"$work/fetch.log") || why "no modules of the kernel here" || return
	mkdir -p "$tree/mod" "$work/guest"
	for module in failover net_failover virtio_ring virtio virtio_net; do
		[ "$1" = 6.1 ] || case $module in virtio | virtio_ring) continue ;; esac # built in
		cp "$(find "$guest/lib/modules" -name "$module.ko")" "$tree/mod/$((n++))-$module.ko" || return
	done
	cp "$guest_dir/initramfs.gz" "$work/guest/initramfs.gz"
	(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1) >>"$work/guest/initramfs.gz"
	guest_dir=$work/guest
}

setup() { # KERNEL
	local plain=$guest_dir status
	modules=
	rm -rf "$work/tree"
	with_modules "$1" && modules=yes
	vm_start a -k "$1" -s 2 -t single
	status=$?
	guest_dir=$plain
	[ $status = 0 ] || return $status
	rm -rf "$work/state" "$work/run"
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp" || return
	vp_ok symbols a || return
	echo "$OUT" >"$work/symbols"
}

key_acts() {
	patch schedstats '  - { at: sched_schedstats, kind: static_key, enable: true }' >/dev/null
	schedstats 0 || return
	vp_ok --json check a "$work/schedstats.yaml" || return
	vp_ok --json apply a "$work/schedstats.yaml" || return
	echo "# sched_schedstats: $(field .sites) sites, pause $(field .longest_pause_us) us"
	expect_eq mode "$(field .mode)" stopped || return
	schedstats 1 || return
	vp sites a sched_schedstats && ! grep -q ' trap \| other ' <<<"$OUT" || why "a site is neither jump nor NOP" || return
	verify_clean a || return
	vp_ok --json revert a schedstats || return
	expect_eq changed "$(field .changed)" true || return
	schedstats 0
}

# Ours is in; the guest switches it off and on by itself.
key_guest_goes_on() {
	vp_ok apply a "$work/schedstats.yaml" || return
	vm_do a set $knob 0 || return
	schedstats 0 || return
	vm_do a set $knob 1 || return
	schedstats 1 || return
	vp_ok --json revert a schedstats || return
	expect_eq changed "$(field .changed)" true || return
	schedstats 0 || return
	vm_do a set $knob 1 || return
	schedstats 1 || return
	vp_ok --json apply a "$work/schedstats.yaml" || return
	expect_eq "changed, where the guest was first" "$(field .changed)" false || return
	vm_do a set $knob 0 || return
	vm_healthy a
}

# The guest took it out: there is nothing to revert.
key_guest_reverts() {
	vp_ok apply a "$work/schedstats.yaml" || return
	vm_do a set $knob 0 || return
	vp_ok --json revert a schedstats || return
	expect_eq changed "$(field .changed)" false || return
	schedstats 0 || return
	vm_healthy a
}

key_refusals() {
	patch no-key '  - { at: linux_banner, kind: static_key, enable: true }' >/dev/null
	vp apply a "$work/no-key.yaml"
	expect_eq "exit code" "$RC" 5 || why "$WHY ($ERR)" || return
	grep -q 'no static key' <<<"$ERR" || why "the sentence is: $ERR" || return
	vp apply a "$work/schedstats.yaml" --mode flipped
	expect_eq "exit code of mode flipped" "$RC" 5 || why "$WHY ($ERR)" || return
	# A key with two users: one of them may go at any time.
	key=0x$(address_of sched_schedstats)
	expect_eq "state of the key" "$(vm_bytes a "$key" 4)" "00 00 00 00"
}

# Bytes at the places of that key that lie in modules, as QEMU sees them.
module_bytes() {
	local address
	for address in $module_sites; do
		vm_bytes a "0x$address" 5
		echo
	done
}

# A key that the kernel counts, with jumps in a module.
module_acts() {
	local file=/proc/sys/kernel/bpf_stats_enabled off on
	vp_ok sites a bpf_stats_enabled_key || return
	module_sites=$(awk '$1 ~ /^ffffffffc/ && !/ init$/ { print $1 }' <<<"$OUT")
	[ -n "$module_sites" ] || why "no module has a place of that key: $OUT" || return
	off=$(module_bytes)
	vm_do a set $file 1 || return
	on=$(module_bytes)
	[ "$on" != "$off" ] || why "the guest has changed nothing in the module" || return
	vm_do a set $file 0 || return
	patch stats '  - { at: bpf_stats_enabled_key, kind: static_key, enable: true }' >/dev/null
	vp_ok --json apply a "$work/stats.yaml" || return
	echo "# bpf_stats_enabled_key: $(field .sites) sites, $(wc -w <<<"$module_sites") of them in modules"
	expect_eq "bytes of the module" "$(module_bytes)" "$on" || return
	verify_clean a || return
	vm_do a set $file 1 || return
	vp revert a stats
	expect_eq "exit code of a revert under the guest's feet" "$RC" 5 || return
	grep -q 'the guest has changed it' <<<"$ERR" || why "revert says: $ERR" || return
	vm_do a set $file 0 || return
	vp_ok --json revert a stats || return
	expect_eq changed "$(field .changed)" true || return
	expect_eq "bytes of the module" "$(module_bytes)" "$off" || return
	vm_do a set $file 1 || return
	expect_eq "bytes of the module" "$(module_bytes)" "$on" || return
	vm_do a set $file 0 || return
	vm_healthy a
}

# The kernel's own count of the places ftrace has.
fentry_sites() {
	local total
	total=$(said SHOW show /sys/kernel/tracing/dyn_ftrace_total_info)
	vp_ok --json sites a --kind fentry || return
	expect_eq "places of ftrace" "$(field '.sites | length')" "${total%% *}" || return
	vm_do a ftrace __do_sys_getpgrp || return
	vp_ok --json sites a __do_sys_getpgrp --kind fentry || return
	expect_eq "state of a traced one" "$(field '.sites[0].state')" call || return
	vm_do a unftrace
}

event=task/task_rename
call_acts() {
	vm_do a trace $event || return
	said TRACED traced task_rename >/dev/null
	vm_do a pgrp || return
	[ "$(said TRACED traced task_rename)" -gt 0 ] || why "the event is not traced to begin with" || return
	patch mute '  - { at: tp_func_task_rename, kind: static_call, to: null }' >/dev/null
	vp_ok --json apply a "$work/mute.yaml" || return
	said TRACED traced task_rename >/dev/null
	vm_do a pgrp || return
	expect_eq "events while the call leads nowhere" "$(said TRACED traced task_rename)" 0 || return
	vp_ok --json revert a mute || return
	vm_do a pgrp || return
	[ "$(said TRACED traced task_rename)" -gt 0 ] || why "the event is not traced after the revert" || return
	vp_ok --json apply a "$work/mute.yaml" || return
	vm_do a untrace $event || return
	vm_do a trace $event || return
	vm_do a untrace $event || return
	vm_healthy a
}

# The guest changes its own text all the time: we wait for our turn, or give up with nothing changed.
key_between_changes() {
	local i tries=0 done=0
	vm_do a flap $event || return
	for ((i = 0; i < 10; i++)); do
		vp --json apply a "$work/schedstats.yaml" || { [ $RC = 6 ] && grep -q 'changing its own text' <<<"$ERR"; } ||
			why "apply exits $RC: $ERR" || return
		[ $RC != 0 ] || { done=$((done + 1)) tries=$((tries + $(field .retries))); }
		[ $RC != 0 ] || vp_ok --json revert a schedstats --timeout 60 || return
	done
	vm_do a unflap || return
	echo "# $done of 10 changes between the guest's own, $tries pauses given up for them"
	[ $done -gt 0 ] || why "never had our turn" || return
	schedstats 0 || return
	vm_healthy a
}

# Our function is gone from the key when the guest has put its own there.
call_guest_goes_on() {
	vp revert a mute
	expect_eq "exit code" "$RC" 5 || return
	grep -q 'the guest has changed it' <<<"$ERR" || why "revert says: $ERR" || return
	# As soon as it is again what it was for us, there is nothing left to revert.
	vm_do a trace $event || return
	vp_ok --json revert a mute || return
	expect_eq changed "$(field .changed)" false || return
	vm_do a untrace $event || return
	vm_healthy a
}

# The kernel's models of preemption are functions, none, and one that returns 0, behind its busiest calls.
preempt=/sys/kernel/debug/sched/preempt
preempt_calls() { grep -oE '^__SCK__(cond_resched|might_resched|preempt_schedule|preempt_schedule_notrace|irqentry_exit_cond_resched)$' <(awk '{ print $3 }' "$work/symbols") | tr '\n' ' '; }

leads() { "$python" "$root/tests/e2e/kinds.py" leads "$work/$1" $events; }

# shellcheck disable=SC2086
preempt_patch() { # NAME SITES
	"$python" "$root/tests/e2e/kinds.py" calls "$1" "$work/$2" $events >"$work/$1.yaml" || why "no patch of $2"
}

# The guest becomes preemptible at the word of its operator, then by our doing; and back, both ways.
ret0_and_null() {
	local file
	events=$(preempt_calls)
	[ "$(wc -w <<<"$events")" -ge 4 ] || why "the kernel has only these calls: $events" || return
	vm_do a set $preempt full || return
	dump full && sites_json full.json || return
	vm_do a set $preempt voluntary || return
	dump voluntary && sites_json voluntary.json || return
	! same voluntary full || why "the guest has changed nothing" || return
	echo "# voluntary: $(leads voluntary.json)"
	echo "# full: $(leads full.json)"
	preempt_patch to-full full.json && preempt_patch to-voluntary voluntary.json || return
	grep -q '"ret0"' "$work/to-full.yaml" && grep -q '"null"' "$work/to-voluntary.yaml" || why "no call returns 0, or none leads nowhere" || return
	vp_ok --json apply a "$work/to-full.yaml" || return
	echo "# $(field .sites) sites"
	dump ours && same full ours || return
	vm_do a pgrp && vm_healthy a || return
	vp_ok --json revert a to-full || return
	dump ours && same voluntary ours || return
	vm_do a set $preempt full || return
	vp_ok --json apply a "$work/to-voluntary.yaml" || return
	dump ours && same voluntary ours || return
	vm_do a pgrp && vp_ok revert a to-voluntary || return
	dump ours && same full ours || return
	vm_do a set $preempt voluntary || return
	dump ours && same voluntary ours || return
	vm_healthy a
}

immediate_acts() {
	local at old=99
	expect_eq "highest priority" "$(said PRIORITY priority)" $old || return
	at=$(mov_of_99) || why "no mov of 99 in __x64_sys_sched_get_priority_max" || return
	patch prio "  - { at: __x64_sys_sched_get_priority_max+$at, kind: immediate, value: 77 }" >/dev/null
	vp_ok --json apply a "$work/prio.yaml" || return
	expect_eq "highest priority" "$(said PRIORITY priority)" 77 || return
	vp_ok --json revert a prio || return
	expect_eq "highest priority" "$(said PRIORITY priority)" $old || return
	patch same "  - { at: __x64_sys_sched_get_priority_max+$at, kind: immediate, value: 99 }" >/dev/null
	vp_ok --json apply a "$work/same.yaml" || return
	expect_eq changed "$(field .changed)" false
}

# b8+r 63 00 00 00: mov $99, in the bytes QEMU shows.
mov_of_99() {
	local base=0x$(address_of __x64_sys_sched_get_priority_max) hex i
	hex=$(vm_bytes a "$base" 128 | tr -d ' ')
	for ((i = 0; i < 120; i++)); do
		[[ ${hex:i*2:10} != b[89a-f]63000000 ]] || { printf '0x%x' $i; return; }
	done
	return 1
}

# in_and_out NAME COMMAND BEFORE THERE: what a command prints before, with the patch in, and after it. THERE may be "!"
# and what it must not be.
in_and_out() { # NAME COMMAND BEFORE THERE
	local is
	expect_eq "$1: before" "$("$2")" "$3" || return
	vp_ok --json apply a "$work/$1.yaml" || return
	expect_eq "$1: changed" "$(field .changed)" true && verify_clean a || return
	is=$("$2")
	if [ "${4#!}" = "$4" ]; then expect_eq "$1: in" "$is" "$4" || return; fi
	[ "!$is" != "$4" ] || why "$1: in, and still $is" || return
	vp_ok --json revert a "$1" || return
	expect_eq "$1: changed by the revert" "$(field .changed)" true || return
	expect_eq "$1: out" "$("$2")" "$3"
}
pgrp() { vm_pgrp a; }
priority() { said PRIORITY priority; }

text_kinds_act() {
	local at old
	at=__x64_sys_sched_get_priority_max+$(mov_of_99) || why "no mov of 99 in __x64_sys_sched_get_priority_max" || return
	patch look "  - { at: $at, kind: nop }" >/dev/null
	vp_ok --json check a "$work/look.yaml" || return
	old=$(field '.sites_detail[0].old')
	patch return '  - { at: __x64_sys_getpgrp, kind: return, value: 4242 }' >/dev/null
	patch jump '  - { at: __do_sys_getpgrp, kind: jump, to: __x64_sys_getuid }' >/dev/null
	patch nop "  - { at: $at, kind: nop }" >/dev/null
	patch bytes "  - { at: $at, kind: bytes, old: \"$old\", new: \"${old/63000000/37000000}\" }" >/dev/null
	in_and_out return pgrp own 4242 && in_and_out jump pgrp own 0 && in_and_out bytes priority 99 55 && in_and_out nop priority 99 !99
}

# The guest's own tracers where we have been, and a module with places of keys that we have switched.
own_use_afterwards() { # KERNEL
	local place behind=0x9 # newer kernels have an ENDBR64 before the tracing pad
	[ "$1" != 6.1 ] || behind=0x5
	for place in __do_sys_getpgrp __x64_sys_sched_get_priority_max; do
		vm_do a ftrace $place && expect_eq "getpgrp() traced" "$(pgrp)" own && expect_eq "priority traced" "$(priority)" 99 || return
		vm_do a unftrace && vm_do a kprobe $place && vm_do a unkprobe && vm_do a kprobe $place+$behind || return
		expect_eq "getpgrp() with a kprobe" "$(pgrp)" own && expect_eq "priority with a kprobe" "$(priority)" 99 || return
		vm_do a unkprobe || return
	done
	[ -z "$modules" ] || vm_do a reload-module || return
	vm_healthy a
}

# The image of the kernel, physically contiguous, as QEMU sees it.
dump() { # FILE
	local gpa
	gpa=$(vm_hmp a "gva2gpa 0x$(address_of _text)" | sed -n 's/^gpa: //p')
	[ -n "$gpa" ] || why "gva2gpa says nothing" || return
	vm_mon a "$(jq -cn --argjson v $((gpa)) --argjson s $((0x$(address_of _end) - 0x$(address_of _text))) \
		--arg f "$work/$1" '{execute: "pmemsave", arguments: {val: $v, size: $s, filename: $f}}')" | grep -q '"return"' ||
		why "pmemsave failed"
}

same() { # A B
	SAME=$("$python" "$root/tests/e2e/kinds.py" compare "$work/$1" "$work/$2" "$(address_of _text)" "$(address_of _stext)" \
		"$(address_of _etext)" "$work/symbols" $events 2>&1) || why "$1 and $2: $SAME"
}

sites_json() { # FILE
	vp_ok --json sites a || return
	echo "$OUT" >"$work/$1"
}

differential() {
	local mark start
	mark=$(vm_mark a)
	vm_do a show /sys/kernel/tracing/available_events || return
	tail -n "+$((mark + 1))" "$work/a/console" | tr -d '\r' | sed -n 's/^SHOW //p' >"$work/events"
	sites_json off.json || return
	events=$("$python" "$root/tests/e2e/kinds.py" choose "$work/off.json" "$work/events" $tracepoints) || return
	[ "$(wc -w <<<"$events")" -ge $tracepoints ] || why "only $(wc -w <<<"$events") tracepoints can be chosen" || return
	dump off || return
	# Else whoever traces anything also has the scheduler's events on.
	vm_do a set /sys/kernel/tracing/options/record-cmd 0 || return
	start=$(now_us)
	vm_do a trace "$events" || return
	echo "# the guest switched $(wc -w <<<"$events") tracepoints on in $((($(now_us) - start) / 1000)) ms"
	dump guest-on || return
	! same off guest-on || why "the guest has changed nothing" || return
	sites_json on.json || return
	vm_do a untrace "$events" || return
	dump guest-off || return
	same off guest-off || return
	# shellcheck disable=SC2086
	"$python" "$root/tests/e2e/kinds.py" patch all-on "$work/on.json" $events >"$work/all-on.yaml" 2>"$work/stderr" ||
		why "$(tail -n 1 "$work/stderr")" || return
	vp_ok --json apply a "$work/all-on.yaml" || return
	echo "# we in one change of $(field .sites) sites: pause $(field .longest_pause_us) us, in all $(field .elapsed_us) us"
	dump ours-on || return
	same guest-on ours-on || return
	echo "# $SAME bytes of text and keys are the same"
	vp_ok --json revert a all-on || return
	dump ours-off || return
	same off ours-off
}

# Ours in, then the guest does the same, undoes it, and does it again.
differential_goes_on() {
	vp_ok --json apply a "$work/all-on.yaml" || return
	vm_do a trace "$events" || return
	dump both-on || return
	same guest-on both-on || return
	vm_do a untrace "$events" || return
	dump both-off || return
	same off both-off || return
	vp_ok --json revert a all-on || return
	expect_eq "changed, where the guest was first" "$(field .changed)" false || return
	vm_do a trace "$events" || return
	vm_do a untrace "$events" || return
	dump end || return
	same off end || return
	vm_healthy a
}

try() { # KERNEL
	local status
	setup "$1"
	status=$?
	if [ $status = 2 ]; then
		skip "Linux $1" "$WHY"
		return
	elif [ $status != 0 ]; then
		not_ok "Linux $1" "$WHY"
		return
	fi
	for name in key_acts key_guest_goes_on key_guest_reverts key_refusals fentry_sites key_between_changes call_acts call_guest_goes_on ret0_and_null immediate_acts text_kinds_act \
		differential differential_goes_on; do
		run_case "Linux $1: ${name//_/ }" "$name"
	done
	if [ -n "$modules" ]; then
		run_case "Linux $1: module acts" module_acts
	else
		skip "Linux $1: module acts" "no modules of that kernel here"
	fi
	run_case "Linux $1: the guest's own use afterwards" own_use_afterwards "$1"
	run_case "Linux $1: no complaint of the kernel" vm_healthy a
	daemon_stop || not_ok "Linux $1: daemon stops" "$WHY"
	vm_kill a
	rm -rf "$work/a"
}

for kernel in ${VMPOKE_KERNELS:-6.1 6.12}; do
	try "$kernel"
done
finish
