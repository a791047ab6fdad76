#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The road on an arm64 guest, a stock Debian kernel under TCG, KASLR on: symbols equal to the guest's
# own, cycles under load with only the two legal values, every refusal with nothing written, deaths
# of worker and daemon. QEMU's own view of memory is the judge, as everywhere.
# VMPOKE_FULL=1: 200 cycles, deaths at every kill point, and a CPU without E0PD, whose kernel unmaps itself in user mode (KPTI).
. "$(dirname "$0")/../lib.sh"
cycles=${ROAD_CYCLES:-$([ -n "${VMPOKE_FULL-}" ] && echo 200 || echo 10)}
function=__arm64_sys_getpgid # what getpgrp() is there

# arm_start NAME CPU [CMDLINE]: as vm_start. 2: not to be had here, $WHY says what.
arm_start() {
	local dir=$work/$1 image busybox
	command -v qemu-system-aarch64 >/dev/null || { WHY="no qemu-system-aarch64 here"; return 2; }
	[ -x "$guest_dir/arm64/getpgrp-watch" ] || { WHY="the guest's programs are not built (no arm64 compiler)"; return 2; }
	image=$(kernel_image 6.1-arm64 2>>"$work/fetch.log") || { WHY="no arm64 kernel here"; return 2; }
	busybox=$("$root/tests/fetch" busybox-arm64 2>>"$work/fetch.log") || { WHY="no arm64 busybox here"; return 2; }
	mkdir -p "$dir"
	BUSYBOX=$busybox "$root/tests/guest/mkinitramfs" "$work/arm64.gz" "$guest_dir"/arm64/* || return 1
	mkfifo "$dir/cmd.in" "$dir/cmd.out"
	setpriv --pdeathsig KILL qemu-system-aarch64 -M virt -cpu "$2" -accel tcg -name "$1" -smp 2 -m 512 \
		-nodefaults -display none -nic none -monitor none -serial "file:$dir/console" \
		-chardev "pipe,id=cmd,path=$dir/cmd" -device pci-serial,chardev=cmd \
		-qmp "unix:$dir/qmp,server=on,wait=off" -qmp "unix:$dir/mon,server=on,wait=off" \
		-kernel "$image" -initrd "$work/arm64.gz" -append "console=ttyAMA0 quiet panic=-1 ${3-}" \
		>"$dir/qemu.log" 2>&1 </dev/null &
	vm_pid[$1]=$!
	exec {vm_fd[$1]}<>"$dir/cmd.in"
	until_ok 180 vm_seen "$1" '^UP |Kernel panic' && vm_seen "$1" '^UP ' ||
		why "the guest did not come up: $(tail -qn 1 "$dir/qemu.log" "$dir/console" | tr -d '\r' | tr '\n' ' ')"
}

setup() {
	vm_wait a 240 '^pgrp ' || return
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp"
}

address_of() { awk -v name="$1" '$3 == name { print $1; exit }' "$work/symbols"; }

# As vm_bytes. QEMU looks through CPU 0's eyes, which see nothing of the kernel while they are in user mode (E0PD, KPTI).
arm_bytes() { # NAME ADDRESS COUNT
	until_ok 90 arm_seen "$@" && echo "$BYTES"
}

arm_seen() {
	BYTES=$(vm_bytes "$@")
	[[ $BYTES != *annot* ]]
}

# The guest's table goes over the serial line as a checksum: in full it would take a minute.
symbols_equal() {
	local vm=$1 mark theirs
	mark=$(vm_mark "$vm")
	vm_do "$vm" symbols-sum || return
	theirs=$(tail -n "+$((mark + 1))" "$work/$vm/console" | tr -d '\r' | sed -n 's/^SYMBOLS //p')
	vp_ok symbols "$vm" || return
	echo "$OUT" >"$work/symbols"
	[ "$(wc -l <"$work/symbols")" -gt 40000 ] || why "only $(wc -l <"$work/symbols") symbols" || return
	expect_eq "checksum and number of symbols" "$(md5sum <"$work/symbols" | cut -d' ' -f1) $(wc -l <"$work/symbols")" "$theirs" || return
	[ "$(awk '{ print $1 }' "$work/symbols" | head -n 1)" != 0000000000000000 ] || why "the guest hides its addresses"
}

probe_figures() {
	vp_ok --json probe "$1" || return
	echo "# $1: cpu $(field .cpu_us) us, stopped for $(field .pause_us) us, $(field .symbols) symbols, base $(field .base), kpti $(field .kpti)"
	[[ $(field .release) == 6.1.*-arm64 ]] || why "release is $(field .release)" || return
	[ "$(field .kaslr_offset)" != 0x0 ] || why "KASLR is off: nothing was proven"
}

# patch NAME SITES...: writes a patch file; SITES are YAML lines.
patch() {
	local file=$work/$1.yaml name=$1
	shift
	printf 'vmpoke: 1\nname: %s\n' "$name" >"$file"
	printf '%s\n' "$@" >>"$file"
	echo "$file"
}

entry_return="  - { at: $function, kind: return, value: 4242 }"

applies() {
	vp_ok --json apply a "$(patch road 'kernel: { release: "6.1.*" }' 'sites:' "$entry_return")" || return
	expect_eq "state, mode" "$(field .state),$(field .mode)" applied,stopped || return
	vm_wait a 120 '^pgrp 4242 ' "$(vm_mark a)" || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp a)" 4242 || return
	# mov w0, #4242; ret, behind the tracing pad
	expect_eq "guest text" "$(arm_bytes a "$((entry + 8))" 8)" "40 12 82 52 c0 03 5f d6" || return
	vp_ok --json revert a road || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp a)" own
}

many_cycles() {
	local i
	for ((i = 1; i <= cycles; i++)); do
		vp_ok --json apply a "$work/road.yaml" || why "cycle $i: $WHY" || return
		field .longest_pause_us >>"$work/pauses"
		expect_eq "cycle $i: state" "$(field .state),$(field .changed)" applied,true || return
		[ $((i % 5)) != 0 ] || verify_clean a || return
		vp_ok --json revert a road || why "cycle $i: $WHY" || return
		expect_eq "cycle $i: state" "$(field .state),$(field .changed)" reverted,true || return
	done
	echo "# pause in us: median $(sort -n "$work/pauses" | sed -n "$(((cycles + 1) / 2))p"), longest $(sort -n "$work/pauses" | tail -n 1)"
}

# The other kinds, each of which the guest survives: a jump; the pad's first instruction, which nobody needs
# while nobody traces; a body of two instructions.
other_kinds() {
	local file
	file=$(patch kinds 'sites:' '  - { at: __arm64_sys_getegid, kind: jump, to: __arm64_sys_getgid }' \
		'  - { at: __arm64_sys_getppid, kind: nop, old: "e9 03 1e aa" }' \
		"  - { at: __arm64_sys_getppid+0x8, kind: bytes, old: \"$body\", new: \"40 05 80 52 c0 03 5f d6\" }")
	vp_ok --json apply a "$file" || return
	expect_eq "sites" "$(field .sites)" 3 || return
	expect_eq "getppid()" "$(arm_bytes a "0x$(address_of __arm64_sys_getppid)" 16)" \
		"1f 20 03 d5 1f 20 03 d5 40 05 80 52 c0 03 5f d6" || return
	[[ $(arm_bytes a "$((0x$(address_of __arm64_sys_getegid) + 3))" 1) =~ ^1[4-7]$ ]] || why "there is no jump" || return
	verify_clean a || return
	vp_ok --json revert a kinds || return
	expect_eq "getppid() after revert" "$(arm_bytes a "$((0x$(address_of __arm64_sys_getppid) + 8))" 8)" "$body" || return
	vm_healthy a
}

knob=/proc/sys/kernel/sched_schedstats
said() { # WORD COMMAND...: the line a guest command printed under that name
	local word=$1 mark
	shift
	mark=$(vm_mark a)
	vm_do a "$@" || return
	tail -n "+$((mark + 1))" "$work/a/console" | tr -d '\r' | sed -n "s/^$word //p" | head -n 1
}
schedstats() { expect_eq "$knob" "$(said SHOW show $knob)" "$1"; }

# The words at all places of a key, as QEMU sees them.
key_words() {
	local address
	for address in $key_places; do
		arm_bytes a "$address" 4 || return
		echo
	done
}

# Switched by us as by the guest itself, to the word; the guest goes on with it, and so do we.
static_key() {
	local key off on
	vp_ok --json sites a sysctl_schedstats || return
	key=$(field '[.sites[] | select(.kind == "static_key") | .key] | unique | .[]')
	[[ $key =~ ^0x[0-9a-f]+$ ]] || why "sysctl_schedstats has not one key but '$key'" || return
	vp_ok --json sites a --kind static_key || return
	key_places=$(field "[.sites[] | select(.key == \"$key\" and .init == null) | .address] | join(\" \")")
	schedstats 0 && off=$(key_words) && vm_do a set $knob 1 && schedstats 1 && on=$(key_words) || return
	vm_do a set $knob 0 && schedstats 0 || return
	[ "$on" != "$off" ] || why "the guest has changed no word" || return
	vp_ok --json apply a "$(patch key 'sites:' "  - { at: $key, kind: static_key, enable: true }")" || return
	echo "# $(wc -w <<<"$key_places") places of the key, $(field .sites) sites, pause $(field .longest_pause_us) us"
	schedstats 1 && expect_eq "the words" "$(key_words)" "$on" && verify_clean a || return
	vm_do a set $knob 0 && schedstats 0 && expect_eq "the words when the guest has put it back" "$(key_words)" "$off" || return
	vm_do a set $knob 1 && schedstats 1 || return
	vp_ok --json revert a key && expect_eq changed "$(field .changed)" true || return
	schedstats 0 && expect_eq "the words in the end" "$(key_words)" "$off" || return
	refused 5 'no static key' "$(patch no-key 'sites:' "  - { at: $entry, kind: static_key, enable: true }")" || return
	vm_healthy a
}

journal_lines() { cat "$work"/state/journal/*.jsonl 2>/dev/null | grep -c '"begin"'; }

# refused CODE SENTENCE FILE: apply and check both say no, and nothing is written.
refused() {
	local code=$1 sentence=$2 file=$3 before lines check_code=$1
	[ "$code" != 5 ] || check_code=3
	before=$(arm_bytes a "$entry" 32)
	lines=$(journal_lines)
	vp apply a "$file"
	expect_eq "exit code of apply" "$RC" "$code" || why "$WHY ($ERR$OUT)" || return
	grep -qE -- "$sentence" <<<"$ERR" || why "the sentence is: $ERR" || return
	vp check a "$file"
	expect_eq "exit code of check" "$RC" "$check_code" || why "$WHY ($ERR$OUT)" || return
	expect_eq "guest text" "$(arm_bytes a "$entry" 32)" "$before" || return
	expect_eq "transactions begun" "$(journal_lines)" "$lines" || return
	expect_eq "VM" "$(vm_status a)" running
}

# The first site is good: a tool that writes before it has looked at all of them would change it.
unaligned() {
	refused 5 'middle of an instruction' "$(patch mid 'sites:' "$entry_return" \
		"  - { at: __arm64_sys_getppid+0xa, kind: nop }")" &&
		refused 5 'arm64 are 4 bytes long and aligned' "$(patch half 'sites:' "$entry_return" \
			"  - { at: __arm64_sys_getppid+0x8, kind: bytes, old: \"${body:0:17}\", new: \"1f 20 03 d5 20 20\" }")" &&
		refused 5 'arm64 are 4 bytes long and aligned' "$(patch odd 'sites:' "$entry_return" \
			'  - { at: __arm64_sys_getppid+0xa, kind: bytes, old: "01 02 03 04", new: "1f 20 03 d5" }')"
}

wrong_old_bytes() {
	refused 5 'holds' "$(patch wrong-old 'sites:' \
		"  - { at: $function+0x8, kind: bytes, old: \"3f 23 03 d6\", new: \"1f 20 03 d5\" }")"
}

new_bytes_are_no_code() {
	refused 5 'not instructions' "$(patch no-code 'sites:' \
		"  - { at: __arm64_sys_getppid+0x8, kind: bytes, old: \"${body:0:11}\", new: \"00 00 00 42\" }")" &&
		refused 5 'breakpoint' "$(patch brk 'sites:' \
			"  - { at: __arm64_sys_getppid+0x8, kind: bytes, old: \"${body:0:11}\", new: \"80 00 20 d4\" }")"
}

wrong_kernel() {
	vp_ok --json probe a || return
	refused 5 'build-id' "$(patch wrong-build "kernel: { build-id: \"$(field .build_id | tr 0-9a-f 1-9a-f0)\" }" 'sites:' "$entry_return")" &&
		refused 5 'release' "$(patch wrong-release 'kernel: { release: "5.10.*" }' 'sites:' "$entry_return")"
}

wrong_symbol() {
	local name
	name=$(awk '$2 ~ /[tT]/ { if (seen[$3]++ == 1) { print $3; exit } }' "$work/symbols")
	refused 5 'no_such_function' "$(patch unknown 'sites:' '  - { at: no_such_function, kind: return, value: 1 }')" &&
		refused 5 'ambiguous' "$(patch ambiguous 'sites:' "  - { at: \"$name\", kind: return, value: 1 }")"
}

outside_text() {
	refused 5 'text' "$(patch data 'sites:' "  - { at: 0x$(printf %x $((0x$(address_of _etext) + 0x1000))), kind: nop }")" &&
		refused 5 'text' "$(patch user 'sites:' '  - { at: 0x400000, kind: nop }')" &&
		refused 5 'text|init' "$(patch init 'sites:' '  - { at: start_kernel, kind: return, value: 0 }')"
}

# Functions that begin with a static branch, by the table that no symbol names. Which do may change with the
# kernel's version: one is enough.
static_branch() {
	local name
	for name in __check_object_size __tick_nohz_task_switch psi_memstall_enter folio_memcg_lock housekeeping_affine; do
		vp check a "$(patch branch 'sites:' "  - { at: $name, kind: return, value: 0 }")"
		if grep -q 'static branch' <<<"$ERR"; then
			refused 5 'static branch' "$work/branch.yaml"
			return
		fi
	done
	why "no function is refused for its static branch; the last: $ERR$OUT"
}

overlapping() {
	local status
	refused 5 'overlap|shares bytes' "$(patch overlap 'sites:' "$entry_return" "  - { at: $function+0xc, kind: nop }")" || return
	vp_ok apply a "$work/road.yaml" || return
	refused 5 'road|overlap' "$(patch second 'sites:' "  - { at: $function, kind: return, value: 7 }")"
	status=$?
	vp_ok revert a road && [ $status = 0 ]
}

# The guest patches a function nobody calls meanwhile: what QEMU 7.2 makes of it while another CPU executes it is
# not what is tested here.
with_kprobe() {
	local status
	vm_do a kprobe __arm64_sys_getppid+0x8 || return
	expect_eq "a BRK is there" "$(arm_bytes a "$((0x$(address_of __arm64_sys_getppid) + 8))" 4)" "80 00 20 d4" || return
	refused 5 'kprobe' "$(patch on-kprobe 'sites:' '  - { at: __arm64_sys_getppid, kind: return, value: 1 }')"
	status=$?
	vm_do a unkprobe && [ $status = 0 ]
}

with_ftrace() {
	local status
	vm_do a ftrace __arm64_sys_getppid || return
	refused 5 'traced' "$(patch on-ftrace 'sites:' '  - { at: __arm64_sys_getppid, kind: return, value: 1 }')" &&
		refused 5 'traced' "$(patch on-ftrace-jump 'sites:' '  - { at: __arm64_sys_getppid, kind: jump, to: __arm64_sys_getegid }')"
	status=$?
	vm_do a unftrace && [ $status = 0 ]
}

# At the kernel's entry SP is none for three instructions (kernel_ventry looks for an overflow by adding to it). A VM
# that was stopped there is not patched, and does not move on by itself.
paused_vm() {
	local i
	for ((i = 0; i < 5; i++)); do
		vm_mon a '{"execute": "stop"}' >/dev/null
		! vp --json apply a "$work/road.yaml" || break
		[ $RC = 6 ] && grep -q 'unknown stack' <<<"$ERR" || why "apply exits $RC: $ERR" || break
		vm_mon a '{"execute": "cont"}' >/dev/null
	done
	[ $RC = 0 ] || return
	expect_eq "VM after apply" "$(vm_status a)" paused || return
	vp_ok --json revert a road || return
	expect_eq "VM after revert" "$(vm_status a)" paused || return
	vm_mon a '{"execute": "cont"}' >/dev/null
	vm_beats a
}

# --- deaths ---

text() { echo "$(vm_status a) $(arm_bytes a "$entry" 20) $(arm_bytes a "0x$(address_of __arm64_sys_getppid)" 20)"; }
recovered() { vp --json status a; }

# Whatever died when: running, all old or all new, and what vmpoke says of it is true.
settled() {
	local now
	until_ok 90 recovered || why "no answer after the crash: $ERR" || return
	now=$(text)
	case $now in
	"$old") expect_eq "status says patched" "$(field '[.. | .patches? // empty | arrays | length] | max // 0')" 0 ;;
	"$new") expect_eq "status says patched" "$(field '[.. | .patches? // empty | arrays | length] | max // 0')" 1 ;;
	*) why "neither running and all-old nor running and all-new: $now" ;;
	esac
}

die_at() { # POINT SUFFIX
	daemon_start "VMPOKE_FAULT=$1:1$2" || return
	vp apply a "$work/two.yaml"
	[ $RC != 0 ] || why "apply was not killed at $1" || return
	if [ -n "$2" ]; then
		until_ok 90 daemon_gone || why "the daemon survived" || return
		daemon_reap
		daemon_start || return
	fi
	# A point that recovery passes, too, kills every worker of this daemon: no answer at all.
	if ! until_ok 5 recovered; then
		daemon_kill
		daemon_start || return
	fi
	settled || return
	# Without the kill point: it would be the next one's, too.
	daemon_kill
	daemon_start || return
	settled || return
	[ "$(text)" = "$old" ] || vp_ok revert a two || return
	expect_eq "text in the end" "$(text)" "$old" || return
	verify_clean a || return
	daemon_stop
}

deaths() {
	local point points both
	patch two 'sites:' "$entry_return" '  - { at: __arm64_sys_getppid, kind: return, value: 1 }' >/dev/null
	old=$(text)
	vp_ok apply a "$work/two.yaml" || return
	new=$(text)
	vp_ok revert a two || return
	[ "$old" != "$new" ] || why "the patch changes no byte" || return
	daemon_stop || return
	points="poke-paused poke-site-written poke-verify-recorded" both=poke-site-written
	[ -z "${VMPOKE_FULL-}" ] || points=$("$build/vmpoke-vm" --list-fault-points) both=$points
	for point in $points; do
		die_at "$point" "" || why "worker killed at $point: $WHY" || return
	done
	for point in $both; do
		die_at "$point" :parent || why "worker and daemon killed at $point: $WHY" || return
	done
	echo "# killed at $(wc -w <<<"$points") points, with the daemon at $(wc -w <<<"$both")"
	daemon_start
}

only_legal_values() {
	verify_clean a || return
	vm_beats a && vm_healthy a || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp a)" own || return
	[ "$(tr -d '\r' <"$work/a/console" | awk '$1 == "pgrp" { print $2 }' | sort -u | wc -l)" = 2 ] ||
		why "values seen: $(tr -d '\r' <"$work/a/console" | awk '$1 == "pgrp" { print $2 }' | sort | uniq -c | tr -s ' \n' ' ')"
}

unmapped_in_user_mode() {
	arm_start b cortex-a57 vmtest=load || return
	vp_ok add b --qmp "$work/b/qmp" || return
	probe_figures b || return
	symbols_equal b || return
	vp_ok apply b "$work/road.yaml" || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp b)" 4242 || return
	vp_ok revert b road || return
	expect_eq "a new process's getpgrp()" "$(vm_pgrp b)" own || return
	vm_healthy b
}

started=$SECONDS
arm_start a max vmtest=load
case $? in
2)
	skip "arm64" "$WHY"
	finish
	;;
1)
	not_ok "guest comes up" "$WHY"
	finish
	;;
esac
echo "# up after $((SECONDS - started)) s"
run_case "guest under load, registered" setup
[ $failures = 0 ] || finish
run_case "probe" probe_figures a
run_case "all symbols" symbols_equal a
[ $failures = 0 ] || finish
entry=0x$(address_of $function)
body=$(arm_bytes a "$((0x$(address_of __arm64_sys_getppid) + 8))" 8)
run_case "return changes the running kernel, revert puts it back" applies
run_case "$cycles apply/revert cycles" many_cycles
run_case "jump, nop, bytes" other_kinds
run_case "static key" static_key
for name in unaligned wrong_old_bytes new_bytes_are_no_code wrong_kernel wrong_symbol outside_text static_branch \
	overlapping with_kprobe with_ftrace paused_vm deaths only_legal_values; do
	run_case "${name//_/ }" "$name"
done
[ -z "${VMPOKE_FULL-}" ] || run_case "kernel unmapped in user mode" unmapped_in_user_mode
run_case "daemon stops" daemon_stop
echo "# $((SECONDS - started)) s"
finish
