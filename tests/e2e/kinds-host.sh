# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see kinds-kvm.sh): a stock guest as a machine of our own, patched with each kind in
# the modes open to it, while it says all the time what its kernel answers. For busybox sh; everything
# it needs is in $RIG_FILES.
. "$RIG_FILES/host-lib.sh"
cd "$dir" || exit 1

answers() { vp list >/dev/null 2>&1; }
booted() { grep -q '^SEEN' "$console"; }
machine() {
	vp run a --kernel "$RIG_FILES/guest-kernel" --initrd "$RIG_FILES/guest-initramfs" --vcpus 2 --memory 256M \
		--append "console=ttyS0 quiet panic=-1 vmtest=agent vmtest=report" --console "$console" || return 1
	came_up
}
machine_gone() {
	vp destroy a
	rm -f "$console"
}
is_ready() { vp --json agent a | grep -q '"state": "ready"'; }
has() { # TEXT: in the last answer
	grep -q -e "$1" answer || { echo "no $1 in: $(head -c 600 answer)"; return 1; }
}

# The guest's newest line; it had the time to say it anew after what was done.
seen() { grep '^SEEN' "$console" | tail -n 1; }
says() { [ "$(grep -c '^SEEN' "$console")" -gt "$((lines + 1))" ] && seen | grep -q -e "$1"; }
shows() { # TEXT
	lines=$(grep -c '^SEEN' "$console")
	within 15 says "$1" || { echo "the guest says: $(seen)"; return 1; }
}

patch() { # NAME SITES...
	to=$1
	shift
	printf 'vmpoke: 1\nname: %s\nsites:\n' "$to" >"$to.yaml"
	printf '  - { %s }\n' "$@" >>"$to.yaml"
}
wish() { # MODE
	echo --mode "$1"
	case $1 in staged | held) echo --traps hw ;; esac
}

# kind MODE NAME ACTS AFTER: in, seen, out, seen. The emulated CPUs of lane n can miss a store until it is made again.
kind() {
	for try in $tries; do
		# shellcheck disable=SC2046
		vp --json apply a "$2.yaml" $(wish "$1") --timeout 30 >answer 2>&1 || { cat answer; return 1; }
		has "\"mode\": \"$1\"" && has '"changed": true' && vp verify a || return
		shows "$3"
		acted=$?
		# shellcheck disable=SC2046
		vp --json revert a "$2" $(wish "$1") --timeout 30 >answer 2>&1 || { cat answer; return 1; }
		has '"changed": true' && [ $acted = 0 ] && shows "$4" && return
		echo x >>missed
	done
	return 1
}
tries=1
[ "$RIG_LANE" != n ] || tries="1 2 3"

refused() { # WORDS vmpoke arguments...
	words=$1
	shift
	vp "$@" >answer 2>&1
	[ $? = 5 ] && has "$words"
}

# b8+r 63 00 00 00 in the function, by asking at each place: what is none is refused.
mov_of_99() {
	for at in $(seq 5 80); do
		patch look "at: __x64_sys_sched_get_priority_max+$(printf 0x%x "$at"), kind: immediate, value: 77"
		vp --json check a look.yaml >answer 2>&1 || continue
		old=$(sed -n 's/.*"old": "\([0-9a-f]*\)".*/\1/p' answer | head -n 1)
		case $old in b?63000000) mov=$at; return ;; esac
	done
	return 1
}

# A place that clears a page by a choice of functions, in text that stays.
clear_page() {
	vp symbols a _text >answer && text=$(cut -d' ' -f1 answer) && vp symbols a clear_page_orig >answer || return
	orig=$(printf %x $((0x$(cut -d' ' -f1 answer) - 0x$text)))
	place=$(awk -v call="$orig" '$5 == call && $4 == 1 { print $1; exit }' "$RIG_FILES/alternatives")
	[ -n "$place" ] && patch alternative "at: $(printf 0x%x $((0x$text + 0x$place))), kind: alternative, choose: original"
}

used() { [ "$(grep -c '^USED' "$console")" -gt "$uses" ]; }
own_use() {
	uses=$(grep -c '^USED' "$console")
	vp apply a bell.yaml --timeout 30 >answer 2>&1 || { cat answer; return 1; }
	within 60 used
	used=$?
	vp revert a bell --timeout 30 >answer 2>&1 || { cat answer; return 1; }
	[ $used = 0 ] || { grep UNUSED "$console" | tail -n 1; return 1; }
	shows "pgrp own priority 99 schedstats 0 renames some"
}

# In memory that the guest's kernel lends, through its agent.
function_acts() { # MODE
	cp "$RIG_FILES/number.o" .
	patch function "at: __do_sys_getpgrp, kind: function, object: number.o, symbol: number"
	kind "$1" function "pgrp 4343" "pgrp own" && has '"state": "freed"'
}

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
vmpoked --state-dir "$dir/state" --runtime-dir "$dir/run" --foreground 2>>daemon.log &
within 10 answers
check_boot "a stock guest boots in a machine" boots machine_gone machine
check "its agent is there" within 30 is_ready
check "the constant is found" mov_of_99
[ $failed = 0 ] || { evidence; exit 1; }
at=$(printf 0x%x "$mov")
patch return "at: __x64_sys_getpgrp, kind: return, value: 4242"
patch jump "at: __do_sys_getpgrp, kind: jump, to: __x64_sys_getuid"
patch immediate "at: __x64_sys_sched_get_priority_max+$at, kind: immediate, value: 77"
patch bytes "at: __x64_sys_sched_get_priority_max+$at, kind: bytes, old: \"$old\", new: \"$(echo "$old" | sed 's/63000000/37000000/')\""
patch nop "at: __x64_sys_sched_get_priority_min+0x5, kind: nop"
patch static-key "at: sched_schedstats, kind: static_key, enable: true"
patch static-call "at: tp_func_task_rename, kind: static_call, to: null"
patch bell "at: __x64_sys_getpgrp, kind: return, value: 9001"
check "a place of alternatives is found" clear_page
for mode in flipped staged held stopped; do
	check "immediate, $mode" kind "$mode" immediate "priority 77" "priority 99"
	check "bytes, $mode" kind "$mode" bytes "priority 55" "priority 99"
	check "jump, $mode" kind "$mode" jump "pgrp 0" "pgrp own"
	check "nop, $mode" kind "$mode" nop "pgrp own" "pgrp own"
	check "alternative, $mode" kind "$mode" alternative "pgrp own" "pgrp own"
	check "function, $mode" function_acts "$mode"
done
# Several instructions: with traps in debug registers there would have to be one on each.
for mode in flipped stopped; do
	check "return, $mode" kind $mode return "pgrp 4242" "pgrp own"
done
check "static_key, stopped" kind stopped static-key "schedstats 1" "schedstats 0"
check "static_call, stopped" kind stopped static-call "renames none" "renames some"
check "static_key is refused in mode flipped" refused "mode 'flipped' is not possible" apply a static-key.yaml --mode flipped
check "the guest's own use of it all afterwards" own_use
check "no complaint of its kernel" sh -c "! grep -E 'KMSG|Kernel panic|ILLEGAL' $console"
lane_figures
[ $failed = 0 ] || { evidence; cat daemon.log; }
vp destroy a >/dev/null
exit $failed
