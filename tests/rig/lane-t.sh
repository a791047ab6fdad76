# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Lane T: a stock kernel under QEMU TCG, without KVM. Proves what concerns a real
# guest kernel and its user space; can prove nothing about KVM.

lane_run() {
	local kernel
	need busybox busybox-static
	need cpio cpio
	kernel=$(host_kernel) || exit
	find_qemu
	: "${cpus:=2}" "${memory:=512}"
	files=("$@")
	pack "$kernel" "$modules" gzip -1 >"$work/initrd" || exit 125
	start "${qemu[@]}" -accel tcg,thread=multi -cpu max,-cx16 -smp "$cpus" -m "$memory" -nodefaults -display none \
		-vga none -no-reboot -serial "file:$work/console" -serial "file:$work/output" \
		-kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1"
	follow
}
