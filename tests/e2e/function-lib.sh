# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What function.sh and function-cve.sh share: a guest with the agent, objects, patch files. Source
# it after lib.sh, with $guest the folder of a kernel and its modules.

kernel_image() { echo "$guest"/boot/vmlinuz-*; }
kernel_flags=(-O2 -std=gnu11 -fno-pic -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-stack-protector
	-fcf-protection=none -fno-asynchronous-unwind-tables)

# The test guest with the agent and what its port needs.
make_initramfs() {
	local tree=$work/tree n=10 module file
	mkdir -p "$tree/bin" "$tree/mod" "$work/guest"
	cp "$root/build/vmpoke-agent" "$tree/bin/"
	for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_console; do
		file=$(find "$guest/lib/modules" -name "$module.ko")
		[ -n "$file" ] || why "the kernel has no module $module" || return
		cp "$file" "$tree/mod/$((n++))-$module.ko"
	done
	cp "$guest_dir/initramfs.gz" "$work/guest/initramfs.gz"
	(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1) >>"$work/guest/initramfs.gz"
	guest_dir=$work/guest
}

# One thread for all vCPUs, as in borrow.sh. 2: not to be had.
start_guest() {
	make_initramfs || return 1
	vm_start web -q 10 -t single -- -device virtio-serial-pci \
		-chardev "socket,id=agent,path=$work/web/agent.sock,server=on,wait=off" \
		-device virtserialport,chardev=agent,name=org.vmpoke.agent.0
}

patch_of() { # NAME AT SYMBOL [OBJECT]
	printf 'vmpoke: 1\nname: %s\nsites:\n  - { at: %s, kind: function, object: %s, symbol: %s }\n' \
		"$1" "$2" "${4-$1.o}" "$3" >"$work/$1.yaml"
}

is_agent() { vp --json agent web; [ "$(field .state)" = "$1" ]; }
agent_is() { until_ok 30 is_agent "$1" || why "the agent is $(field .state) ($(field .why)), expected $1"; }
add_web() { vp_ok add web --qmp "$work/web/qmp" --agent "unix:$work/web/agent.sock"; }
payloads() { vp_ok --json status web && expect_eq "payloads in the guest" "$(field '[.payloads[].state] | join(" ")')" "$1"; }
