# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A stock Debian guest with link-echo in it, on tap0 of this network namespace
# and with a port "bare" on the unix socket $work/port. Source it after lib.sh.

# Folder of the guest's kernel and the modules it needs, packed behind its initramfs.
guest_files() {
	local dir module path order="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover
		net_failover virtio_net virtio_console"
	dir=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || return 1
	kernel=$(ls "$dir"/boot/vmlinuz-*)
	mkdir -p "$work/extra/mod"
	for module in $order; do
		path=$(find "$dir/lib" -name "$module.ko" | head -n 1)
		[ -n "$path" ] && cp "$path" "$work/extra/mod/" || return 1
		echo "$module" >>"$work/extra/mod/order"
	done
	(cd "$work/extra" && find mod | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/extra.gz"
	cat "$tools/initramfs.gz" "$work/extra.gz" >"$work/initrd"
}

mac=52:54:00:77:00:02
guest_start() { # CMDLINE
	local qemu
	qemu=$(qemu_command 10) || qemu=$(qemu_command 7) || return
	mkdir -p "$work/g"
	rm -f "$work/g/console"
	# shellcheck disable=SC2046,SC2086
	setpriv --pdeathsig KILL $qemu $(accel_args "$(grep -q qemu-10 <<<"$qemu" && echo 10 || echo 7)") -smp 2 -m 256 \
		-nodefaults -display none -vga none -monitor none -serial "file:$work/g/console" -no-reboot \
		-netdev tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off \
		-device virtio-net-pci,netdev=n0,mac=$mac,romfile= -device virtio-serial-pci \
		-chardev "socket,id=c0,path=$work/port,server=on,wait=off" -device virtserialport,chardev=c0,name=bare \
		-kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 $1" \
		>"$work/g/qemu.log" 2>&1 </dev/null &
	vm_pid[g]=$!
	until_ok 120 vm_seen g '^UP' && vm_wait g 60 '^packet: ready' || why "the guest did not come up: $(tail -qn 1 "$work/g/qemu.log" "$work/g/console")"
}
