#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Kind alternative on stock kernels: every place that clears a page by one of three functions is
# switched to the original one and back; that the guest then calls it is counted, and what
# the text holds is read from QEMU. Which places there are is in the kernel's file only.
. "$(dirname "$0")/../lib.sh"
list=$root/build/tests/list-alternatives

# lib.sh's, with a folder of kernels.
images_daemon_start() {
	daemon_options=(--images "$work/images")
	daemon_start
}

setup() { # NAME KERNEL
	vm_start "$1" -k "$2" -s 2 || return
	image=$(kernel_image "$2" 2>>"$work/fetch.log") || return
	[ -n "$daemon_pid" ] || images_daemon_start || return
	vp_ok add "$1" --qmp "$work/$1/qmp" || return
	vp_ok --json probe "$1" || return
	base=$(field .base)
	"$list" "$image" >"$work/list" || why "the kernel's file cannot be read" || return
}

# Offset of a symbol from _text, as the list has it.
offset_of() { # NAME SYMBOL
	vp_ok symbols "$1" "$2" || return
	printf %x $((0x${OUT%% *} - base))
}

# All places whose original calls clear_page_orig, in one patch: $places are their addresses.
write_patch() { # NAME CHOICE
	local original offset end
	original=$(offset_of "$1" clear_page_orig) || return
	end=$(offset_of "$1" _etext) || return
	places=
	for offset in $(awk -v call="$original" '$5 == call && $4 == 1 { print $1 }' "$work/list"); do
		[ $((0x$offset)) -ge $((0x$end)) ] || places+=" $offset" # behind it: text of the boot, freed
	done
	[ "$(wc -w <<<"$places")" -ge 3 ] || why "only these places clear pages: $places" || return
	printf 'vmpoke: 1\nname: clear-%s\nsites:\n' "$2" >"$work/$2.yaml"
	for offset in $places; do
		printf '  - { at: 0x%x, kind: alternative, choose: %s }\n' $((base + 0x$offset)) "$2"
	done >>"$work/$2.yaml"
}

text() { # NAME: the bytes of some of the places; QEMU is asked for each
	local offset
	for offset in $(tr ' ' '\n' <<<"$places" | grep . | head -n 6); do
		vm_bytes "$1" "$(printf 0x%x $((base + 0x$offset)))" 5
	done
}

# How often the guest calls clear_page_orig while it makes processes; $OUT is the answer.
orig_calls() { # NAME
	local i
	"$build/vmpoke" -c "$sock" --json count "$1" clear_page_orig --seconds 4 >"$work/count" 2>&1 </dev/null &
	for ((i = 0; i < 4; i++)); do
		expect_eq "getpgrp()" "$(vm_pgrp "$1")" own || return
	done
	wait $!
	calls=$(jq -r .hits <"$work/count")
}

refused_without_file() { # NAME
	write_patch "$1" original || return
	vp check "$1" "$work/original.yaml"
	expect_eq "exit code" "$RC" 3 || return
	[[ $ERR == *"--vmlinux FILE"* ]] || why "it says: $ERR"
}

refused_with_other_file() { # NAME KERNEL
	local other
	other=$(kernel_image "$2" 2>>"$work/fetch.log") || why "no kernel $2 here" || return
	vp apply "$1" "$work/original.yaml" --vmlinux "$other"
	expect_eq "exit code" "$RC" 5 || return
	[[ $ERR == *"it is not the file this guest runs"* ]] || why "it says: $ERR"
}

refused_with_garbage() { # NAME
	vp apply "$1" "$work/original.yaml" --vmlinux "$guest_dir/initramfs.gz"
	expect_eq "exit code" "$RC" 1 || return
	[[ $ERR == *"neither a vmlinux nor a boot image"* ]] || why "it says: $ERR"
}

applied_and_acts() { # NAME
	before=$(text "$1")
	orig_calls "$1" || return
	expect_eq "calls of the original before" "$calls" 0 || return
	vp_ok --json apply "$1" "$work/original.yaml" --vmlinux "$image" || return
	expect_eq "changed, sites" "$(field '"\(.changed) \(.sites)"')" "true $(wc -w <<<"$places")" || return
	verify_clean "$1" || return
	orig_calls "$1" || return
	[ "$calls" -gt 0 ] || why "nobody calls the original" || return
	echo "# $1: $(wc -w <<<"$places") places; $calls calls of the original counted"
	vm_healthy "$1"
}

# In the daemon's folder, under its build-id: nobody has to name it. Another kernel's file under that name is refused.
found_by_build_id() { # NAME KERNEL OF ANOTHER
	local id file other
	vp_ok --json probe "$1" || return
	id=$(field .build_id)
	file=$work/images/.build-id/${id:0:2}/${id:2}
	mkdir -p "${file%/*}"
	vp check "$1" "$work/original.yaml"
	expect_eq "exit code while it is not there" "$RC" 3 || return
	other=$(kernel_image "$2" 2>>"$work/fetch.log") || why "no kernel $2 here" || return
	cp "$other" "$file"
	vp check "$1" "$work/original.yaml"
	expect_eq "exit code with another kernel's file" "$RC" 3 && [[ $ERR == *"it is not the file this guest runs"* ]] ||
		why "it says: $ERR" || return
	cp "$image" "$file"
	vp_ok --json check "$1" "$work/original.yaml" || return
	expect_eq "sites" "$(field .sites)" "$(wc -w <<<"$places")"
}

reverted() { # NAME
	vp_ok revert "$1" clear-original || return
	expect_eq "the text after revert" "$(text "$1")" "$before" || return
	orig_calls "$1" || return
	expect_eq "calls of the original after revert" "$calls" 0 || return
	vm_healthy "$1"
}

# The form the CPU got at boot is chosen: there is nothing to do.
present_form() { # NAME
	local n same=0
	for n in 1 2; do
		write_patch "$1" $n || return
		vp_ok --json check "$1" "$work/$n.yaml" --vmlinux "$image" || return
		[ "$(field .state)" != applied ] || same=$((same + 1))
	done
	expect_eq "forms that are in already" $same 1
}

kernel() { # NAME KERNEL OTHER
	local status
	WHY=
	setup "$1" "$2"
	status=$?
	if [ $status = 2 ]; then
		skip "alternatives of $2" "$WHY"
		return
	elif [ $status != 0 ]; then
		not_ok "$2: guest registered" "$WHY"
		return
	fi
	run_case "$2: without the kernel's file" refused_without_file "$1"
	run_case "$2: with another kernel's file" refused_with_other_file "$1" "$3"
	run_case "$2: with a file that is no kernel" refused_with_garbage "$1"
	run_case "$2: the form that is there" present_form "$1"
	run_case "$2: found by its build-id" found_by_build_id "$1" "$3"
	run_case "$2: applied, and the guest calls the original" applied_and_acts "$1"
	run_case "$2: reverted" reverted "$1"
	vm_kill "$1"
}

kernel a 6.1 6.12
kernel b 6.12 6.1
run_case "daemon stops" daemon_stop
finish
