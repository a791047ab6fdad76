#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The road on a genuine /dev/kvm: a stock guest under QEMU with -accel kvm. Where
# this machine's KVM cannot run it, inside a host made for the occasion (kvm-amd
# on emulated SVM, tests/rig, lane n: 25 s). The part that runs there is kvm-host.sh.
# Alone: the emulated CPUs of lane n are slow and lose stores as it is (tests/rig/lane-n.sh).
. "$(dirname "$0")/../lib.sh"

firmware() { # FILE: in QEMU 10's folders or the system's
	find -L "$qemu_dir/usr/share/seabios" "$qemu_dir/usr/share/qemu" /usr/share/seabios /usr/share/qemu \
		-name "$1" 2>/dev/null | head -n 1
}

lane=n
! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || lane=native
qemu_dir=$("$root/tests/fetch" qemu-10 2>>"$work/fetch.log") || { skip "kvm lane" "QEMU 10 cannot be had"; finish; }
kernel=$(kernel_image 6.1 2>>"$work/fetch.log") || { skip "kvm lane" "the kernel cannot be had"; finish; }
cp "$qemu_dir/usr/bin/qemu-system-x86_64" "$work/qemu"
cp "$kernel" "$work/guest-kernel"
cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
files=("$work/qemu" "$work/guest-kernel" "$work/guest-initramfs" "$root/tests/demo.yaml" "$root/tests/e2e/host-lib.sh"
	"$build/vmpoked" "$build/vmpoke-vm" "$build/vmpoke")
for name in bios-256k.bin kvmvapic.bin linuxboot_dma.bin; do
	path=$(firmware $name)
	[ -z "$path" ] || files+=("$path")
done
"$root/tests/rig/run" $lane --memory 1536 --timeout 400 "$root/tests/e2e/kvm-host.sh" "${files[@]}" \
	>"$work/out" 2>"$work/rig.log"
status=$?
cat "$work/out" "$work/rig.log"
if [ $status = 77 ]; then
	skip "kvm lane" "$(tail -n 1 "$work/rig.log")"
elif grep -q '^not ok' "$work/out"; then
	failures=1
elif [ $status != 0 ]; then
	not_ok "kvm lane $lane" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
finish
