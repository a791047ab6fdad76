# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Lane N: a host with kvm-amd, its SVM emulated by TCG, its CPUs truly in
# parallel. Proves the KVM interface and its races: kicks, remaps, single-step,
# NMI, #MC. Cannot prove int3 traps: QEMU does not honour the #BP intercept for
# the instruction. Hardware breakpoints fire from QEMU 10 on only (7.2 does not
# load DR7 at VMRUN): probe, never assume.

# A thread for each CPU has a price: QEMU 10's TCG now and then goes on executing text
# that another CPU has overwritten (545 of 18,264 stores in a hot loop, until the
# same bytes were written again; with one thread none of 1,034, but five times slower).
# A guest with several busy vCPUs ends in a triple fault now and then, also while Linux boots.
# That is the emulator's, not ours: with four vCPUs that fight for paravirt locks it took 30 and 55 s, under
# our own VMM that only ran KVM_RUN and under QEMU's -accel kvm without vmpoke alike; with one CPU not in 100 s.

lane_run() {
	local kernel
	need busybox busybox-static
	need cpio cpio
	kernel=$(host_kernel) || exit
	find_qemu
	[ "${qemu[0]}" != qemu-system-x86_64 ] || echo "rig: lane n: without QEMU 10 no hardware breakpoint fires" >&2
	: "${cpus:=2}" "${memory:=1024}"
	files=("$@")
	pack "$kernel" "irqbypass kvm kvm-amd $modules" gzip -1 >"$work/initrd" || exit 125
	start "${qemu[@]}" -accel tcg,thread=multi -cpu max -smp "$cpus" -m "$memory" -nodefaults -display none \
		-vga none -no-reboot -serial "file:$work/console" -serial "file:$work/output" \
		-kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1"
	follow
}
