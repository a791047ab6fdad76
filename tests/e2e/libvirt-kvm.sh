#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Domains of libvirtd under genuine KVM (<domain type='kvm'>) on a host of stock Debian: libvirt's cases on a host made for
# the occasion (tests/rig, lane n), with this machine's libvirtd and QEMU. libvirt-kvm-host.sh is what runs there.
# The host has one CPU: with more its emulated ones lose stores (rig/lane-n.sh). Slow: VMPOKE_FULL=1.
# Alone: an emulated host.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/system-lib.sh"
. "$root/tests/e2e/libvirt-lib.sh"

name="domains in KVM"
[ "${VMPOKE_FULL-}" = 1 ] || { skip "$name" "takes minutes; VMPOKE_FULL=1 runs it"; finish; }
missing=$(libvirt_missing)
if [ -n "$missing" ] || [ ! -x "$build/vmpoke-libvirt" ]; then
	skip "$name" "${missing:-vmpoke-libvirt was not built: no libvirt-dev}"
	finish
fi
kernel=$(kernel_image 6.1 2>>"$work/fetch.log") || { skip "$name" "no kernel 6.1 here"; finish; }

# take PATH...: files of this machine where they are, with their libraries.
take() {
	local file
	for file; do
		mkdir -p "$system${file%/*}" && cp -L "$file" "$system$file" || why "$file cannot be taken along" || return
		system_libraries "$file"
	done
}

# libvirtd, its driver for QEMU, and what it runs and reads; QEMU with its parts.
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
	cp "$kernel" "$system/cache/test-kernel-6.1/boot/" && echo root:x:0:0::/:/bin/sh >"$system/etc/passwd" && echo root:x:0: >"$system/etc/group"
}

# shellcheck disable=SC2034
system_modules="ctypes signal" # of libvirt-reap.py
system_make tests/e2e/libvirt-{kvm-host,lib,cases}.sh tests/e2e/libvirt-reap.py tests/e2e/qmp.py tests/demo.yaml vmm/libvirt/50-vmpoke \
	build/vmpoke-hook build/tests/initramfs.gz build/test/vmpoke{d,-vm,-libvirt,} && pack_libvirt || { not_ok "$name" "${WHY:-cannot be packed}"; finish; }
system_script "$work/script" "env LIBVIRT_LIMIT=400 VM_DO_LIMIT=400 bash tests/e2e/libvirt-kvm-host.sh"
"$root/tests/rig/run" n --cpus 1 --memory 3072 --timeout 1500 "$work/script" "$work/system.tar" >"$work/out" 2>"$work/rig.log"
status=$?
sed -E "s/^(ok|not ok|skip) /&KVM: /" "$work/out"
cat "$work/rig.log"
if [ $status = 77 ]; then
	skip "$name" "$(tail -n 1 "$work/rig.log")"
elif grep -q '^not ok' "$work/out"; then
	failures=1
elif [ $status != 0 ]; then
	not_ok "$name" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
finish
