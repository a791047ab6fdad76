# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# This machine's libvirtd and QEMU, and the cases of libvirt, for a machine of tests/rig. Source it after system-lib.sh
# and libvirt-lib.sh.

# take PATH...: files of this machine where they are, with their libraries.
take() {
	local file
	for file; do
		mkdir -p "$system${file%/*}" && cp -L "$file" "$system$file" || why "$file cannot be taken along" || return
		system_libraries "$file"
	done
}

# pack_libvirt KERNEL: libvirtd, its driver for QEMU, and what it runs and reads; QEMU with its parts; that kernel.
pack_libvirt() {
	local drivers file
	drivers=$(find /usr/lib -name libvirt_driver_qemu.so | head -n 1)
	take /usr/sbin/libvirtd "$drivers" /usr/lib/libvirt/libvirt_iohelper /usr/share/libvirt/cpu_map/*.xml || return
	system_program virsh qemu-system-x86_64 jq seq || return
	for file in bios-256k.bin kvmvapic.bin linuxboot_dma.bin; do
		take "$(find -L /usr/share/qemu /usr/share/seabios -name $file | head -n 1)" || return
	done
	take "$(find /usr/lib -path '*/qemu/accel-tcg-x86_64.so' | head -n 1)" || return
	mkdir -p "$system"/{etc,var,run} "$system/cache/test-kernel-6.1/boot"
	cp "$1" "$system/cache/test-kernel-6.1/boot/" && echo root:x:0:0::/:/bin/sh >"$system/etc/passwd" && echo root:x:0: >"$system/etc/group"
}

# rig_libvirt NAME HOST-SCRIPT [FUNCTION]: the cases of HOST-SCRIPT, with NAME before each, on a machine with KVM; FUNCTION packs more.
rig_libvirt() {
	local name=$1 kernel missing status
	missing=$(libvirt_missing)
	if [ -n "$missing" ] || [ ! -x "$build/vmpoke-libvirt" ]; then
		skip "$name" "${missing:-vmpoke-libvirt was not built: no libvirt-dev}"
		return
	fi
	kernel=$(kernel_image 6.1 2>>"$work/fetch.log") || { skip "$name" "no kernel 6.1 here"; return; }
	# shellcheck disable=SC2034
	system_modules="ctypes signal" # of libvirt-reap.py
	system_make "tests/e2e/$2" tests/e2e/libvirt-{lib,cases}.sh tests/e2e/libvirt-reap.py tests/e2e/qmp.py tests/demo.yaml vmm/libvirt/50-vmpoke \
		build/vmpoke-hook build/tests/initramfs.gz build/test/vmpoke{d,-vm,-libvirt,} && pack_libvirt "$kernel" && ${3:-true} ||
		{ not_ok "$name" "${WHY:-cannot be packed}"; return; }
	system_script "$work/script" "env LIBVIRT_LIMIT=400 VM_DO_LIMIT=400 bash tests/e2e/$2"
	"$root/tests/rig/run" n --cpus 1 --memory 3072 --timeout 1500 "$work/script" "$work/system.tar" >"$work/out" 2>"$work/rig.log"
	status=$?
	sed -E "s/^(ok|not ok|skip) /&$name: /" "$work/out"
	cat "$work/rig.log"
	if [ $status = 77 ]; then
		skip "$name" "$(tail -n 1 "$work/rig.log")"
	elif grep -q '^not ok' "$work/out"; then
		failures=1
	elif [ $status != 0 ]; then
		not_ok "$name" "ended with status $status: $(tail -n 1 "$work/rig.log")"
	fi
}
