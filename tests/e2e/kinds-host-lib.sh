# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What kinds-host.sh reads: a stock guest with its agent as a machine of our own, and
# a patch of each kind for it. Source it after host-lib.sh. For busybox sh.
machine() {
	machine_run --vcpus 2 --append "console=ttyS0 quiet panic=-1 vmtest=agent $append"
}
is_ready() { vp --json agent a | grep -q '"state": "ready"'; }

# Traps that this host's KVM reports.
find_traps() {
	vp --json probe a >answer || { cat answer; return 1; }
	traps=hw
	! grep -q '"trap_int3": true' answer || traps=int3
}
wish() { # MODE
	echo --mode "$1"
	case $1 in staged | held) echo --traps "$traps" ;; esac
}

patch() { # NAME SITES...
	to=$1
	shift
	printf 'vmpoke: 1\nname: %s\nsites:\n' "$to" >"$to.yaml"
	printf '  - { %s }\n' "$@" >>"$to.yaml"
}

# b8+r 63 00 00 00 in the function, by asking at each place: what is none is refused.
mov_of_99() {
	for at in $(seq 5 80); do
		patch look "at: __x64_sys_sched_get_priority_max+$(printf 0x%x "$at"), kind: immediate, value: 77"
		vp --json check a look.yaml >answer 2>&1 || continue
		old=$(sed -n 's/.*"old": "\([0-9a-f]*\)".*/\1/p' answer | head -n 1)
		case $old in b?63000000) mov=$(printf 0x%x "$at"); return ;; esac
	done
	cat answer
	return 1
}

# A place that clears a page by a choice of functions, in text that stays.
clear_page() {
	vp symbols a _text >answer && text=$(cut -d' ' -f1 answer) && vp symbols a clear_page_orig >answer || return
	orig=$(printf %x $((0x$(cut -d' ' -f1 answer) - 0x$text)))
	place=$(awk -v call="$orig" '$5 == call && $4 == 1 { print $1; exit }' "$RIG_FILES/alternatives")
	[ -n "$place" ] && patch alternative "at: $(printf 0x%x $((0x$text + 0x$place))), kind: alternative, choose: original"
}

write_patches() {
	mov_of_99 && clear_page || return
	patch return "at: __x64_sys_getpgrp, kind: return, value: 4242"
	patch immediate "at: __x64_sys_sched_get_priority_max+$mov, kind: immediate, value: 77"
	patch bytes "at: __x64_sys_sched_get_priority_max+$mov, kind: bytes, old: \"$old\", new: \"$(echo "$old" | sed 's/63000000/37000000/')\""
	# One that cannot fault: others are not staged where traps are debug registers.
	patch nop "at: __x64_sys_sched_get_priority_max+$mov, kind: nop"
	patch static-key "at: sched_schedstats, kind: static_key, enable: true"
	patch static-call "at: tp_func_task_rename, kind: static_call, to: null"
	patch bell "at: __x64_sys_getpgrp, kind: return, value: 9001"
	# In memory that the guest's kernel lends, through its agent.
	cp "$RIG_FILES/number.o" .
	patch function "at: __do_sys_getpgrp, kind: function, object: number.o, symbol: number"
}
