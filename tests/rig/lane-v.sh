# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Lane V: a host with kvm-intel (EPT, VPID, unrestricted guest), its VMX emulated
# by Bochs. Proves everything, int3 traps included, and runs are repeatable to
# the instruction; but all CPUs share one thread of about 100 million instructions
# a second. Two defects of Bochs 2.7 to know: a guest that spins with interrupts
# off hangs the whole machine, and a single-step that meets an EPT violation
# reports one step too many (--kvm-args ept=0 avoids it).

bochs_share=/usr/share/bochs
isolinux=/usr/lib/ISOLINUX/isolinux.bin
ldlinux=/usr/lib/syslinux/modules/bios/ldlinux.c32

# Timers and the RNG are told not to calibrate or wait: minutes at this speed.
write_iso() { # KERNEL-DIR
	local tree=$work/iso/isolinux
	mkdir -p "$tree"
	pack "$1" "irqbypass kvm kvm-intel $modules" lz4 -q -l -9 >"$tree/initrd" || exit 125
	cp "$1"/boot/vmlinuz-* "$tree/vmlinuz"
	cp "$isolinux" "$ldlinux" "$tree/"
	cat >"$tree/isolinux.cfg" <<-'CFG'
		default l
		prompt 0
		timeout 1
		label l
		 kernel vmlinuz
		 append initrd=initrd console=ttyS0,115200 panic=-1 nokaslr mitigations=off quiet cryptomgr.notests tsc=reliable no_timer_check random.trust_cpu=on
	CFG
	xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso" 2>"$work/xorriso.log" || exit 125
}

# The model matters: corei7_skylake_x has a clock 70 times too slow, SVM models panic at the first VMRUN.
write_bochsrc() {
	cat >"$work/bochsrc" <<-RC
		display_library: rfb, options="timeout=0"
		romimage: file=$bochs_share/BIOS-bochs-latest
		vgaromimage: file=$bochs_share/VGABIOS-lgpl-latest
		cpu: model=broadwell_ult, count=$cpus, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
		memory: guest=$memory, host=$memory
		pci: enabled=1, chipset=i440fx
		ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
		ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
		boot: cdrom
		clock: sync=none, time0=local
		com1: enabled=1, mode=file, dev=$work/console
		com2: enabled=1, mode=file, dev=$work/output
		log: $work/log.bochs
		panic: action=fatal
		error: action=ignore
		info: action=ignore
		debug: action=ignore
	RC
	# Bochs of Debian starts in its debugger: c lets it run.
	echo c >"$work/rc"
}

lane_run() {
	local kernel
	need bochs bochs
	need "$bochs_share/BIOS-bochs-latest" bochsbios
	need "$bochs_share/VGABIOS-lgpl-latest" vgabios
	need "$isolinux" isolinux
	need "$ldlinux" syslinux-common
	need xorriso xorriso
	need lz4 lz4
	need busybox busybox-static
	need cpio cpio
	kernel=$(host_kernel) || exit
	: "${cpus:=1}" "${memory:=512}"
	files=("$@")
	write_iso "$kernel"
	write_bochsrc
	start bochs -q -f "$work/bochsrc" -rc "$work/rc"
	follow
}
