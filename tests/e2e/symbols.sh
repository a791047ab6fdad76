#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every symbol vmpoke finds from the outside equals the guest's own
# /proc/kallsyms, KASLR on, for both kernels and both QEMUs; and a cold probe
# costs at most 300 ms of CPU time. Measured: ~87,000 symbols; the guest's
# table takes 5 s through the debug console.
# One CPU: it limits CPU time.
. "$(dirname "$0")/../lib.sh"

# The guest's table without modules (none are loaded) in our format.
guest_table() { grep -v '\[' "$work/$1/debugcon" | awk '{ print $1, $2, $3 }'; }

symbols_equal() {
	local vm=$1 lines
	vm_do "$vm" symbols || return
	guest_table "$vm" >"$work/theirs"
	"$build/vmpoke" -c "$sock" symbols "$vm" >"$work/ours" 2>"$work/stderr" || why "$(<"$work/stderr")" || return
	lines=$(wc -l <"$work/theirs")
	[ "$lines" -gt 80000 ] || why "the guest printed only $lines symbols" || return
	cmp -s "$work/theirs" "$work/ours" ||
		why "$(diff "$work/theirs" "$work/ours" | grep -c '^[<>]') lines of $lines differ, first: $(diff "$work/theirs" "$work/ours" | sed -n 2p)"
}

# The first probe of a new state directory: nothing is cached.
probe_figures() {
	local vm=$1 release=$2
	vp_ok --json probe "$vm" || return
	echo "# $vm: cpu $(field .cpu_us) us, pause $(field .pause_us) us, $(field .symbols) symbols, base $(field .base)"
	[[ $(field .release) == $release* ]] || why "release is $(field .release)" || return
	expect_eq "cached" "$(field .cached)" false || return
	[ "$(field .kaslr_offset)" != 0x0 ] || why "KASLR is off: nothing was proven" || return
	[ "$(field .cpu_us)" -le 300000 ] || why "probe took $(field .cpu_us) us of CPU time"
}

probe_again() {
	vp_ok --json probe "$1" || return
	expect_eq "cached" "$(field .cached)" true
}

one_symbol() {
	vp_ok symbols "$1" __x64_sys_getpgrp || return
	expect_eq "symbols VM SYMBOL" "$OUT" "$(guest_table "$1" | grep ' __x64_sys_getpgrp$')"
}

unknown_symbol() {
	vp symbols "$1" no_such_symbol_anywhere && why "an unknown symbol was found" && return 1
	expect_eq "exit code" "$RC" 4
}

try() { # KERNEL QEMU
	local vm=k${1/./}q$2 name="Linux $1 on QEMU $2" status
	vm_start "$vm" -k "$1" -q "$2"
	status=$?
	if [ $status = 2 ]; then
		skip "$name" "$WHY"
		return
	elif [ $status != 0 ]; then
		not_ok "$name" "$WHY"
		return
	fi
	rm -rf "$work/state" "$work/run"
	daemon_start && vp_ok add "$vm" --qmp "$work/$vm/qmp" || not_ok "$name: add" "$WHY"
	run_case "$name: probe" probe_figures "$vm" "$1"
	run_case "$name: probe again" probe_again "$vm"
	run_case "$name: all symbols" symbols_equal "$vm"
	run_case "$name: one symbol" one_symbol "$vm"
	run_case "$name: unknown symbol" unknown_symbol "$vm"
	run_case "$name: VM still runs" expect_eq status "$(vm_status "$vm")" running
	daemon_stop || not_ok "$name: daemon stops" "$WHY"
	vm_kill "$vm"
}

try 6.1 7
try 6.1 10
try 6.12 7
try 6.12 10
finish
