#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A borrowed context on a genuine /dev/kvm, by hardware breakpoints: our own VMM and QEMU/KVM.
# Where this machine's KVM cannot run stock Linux, inside a host made for the occasion
# (tests/rig, lane n). The part that runs there is borrow-host.sh. Slow: VMPOKE_FULL=1.
# Alone: the emulated CPUs of lane n are slow and lose stores as it is (tests/rig/lane-n.sh).
. "$(dirname "$0")/../lib.sh"

[ "${VMPOKE_FULL-}" = 1 ] || { skip "borrowed context on KVM" "takes minutes; VMPOKE_FULL=1 runs it"; finish; }

firmware() { # FILE: in QEMU 10's folders or the system's
	find -L "$qemu_dir/usr/share/seabios" "$qemu_dir/usr/share/qemu" /usr/share/seabios /usr/share/qemu \
		-name "$1" 2>/dev/null | head -n 1
}

lane=n
! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || lane=native
qemu_dir=$("$root/tests/fetch" qemu-10 2>>"$work/fetch.log") || { skip "borrowed context on KVM" "QEMU 10 cannot be had"; finish; }
kernel=$(kernel_image 6.1 2>>"$work/fetch.log") || { skip "borrowed context on KVM" "the kernel cannot be had"; finish; }
cp "$qemu_dir/usr/bin/qemu-system-x86_64" "$work/qemu"
cp "$kernel" "$work/guest-kernel"
cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
files=("$work/qemu" "$work/guest-kernel" "$work/guest-initramfs" "$build/borrow-run" "$root/tests/e2e/host-lib.sh")
for name in bios-256k.bin kvmvapic.bin linuxboot_dma.bin; do
	path=$(firmware $name)
	[ -z "$path" ] || files+=("$path")
done
"$root/tests/rig/run" $lane --memory 1536 --timeout 500 "$root/tests/e2e/borrow-host.sh" "${files[@]}" \
	>"$work/out" 2>"$work/rig.log"
status=$?
cat "$work/out" "$work/rig.log"
if [ $status = 77 ]; then
	skip "borrowed context on KVM" "$(tail -n 1 "$work/rig.log")"
elif [ $status != 0 ] && ! grep -q '^not ok' "$work/out"; then
	not_ok "borrowed context on KVM, lane $lane" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
finish
