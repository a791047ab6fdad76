#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent over vsock, which needs a host whose kernel has vhost_vsock, and guests in KVM to be quick: a host
# made for the occasion (tests/rig, lane n), a stock guest in it. agent-vsock-host.sh is what runs there.
# The host has one CPU: with more its emulated ones lose stores (rig/lane-n.sh). Slow: VMPOKE_FULL=1.
# Alone: an emulated host, and time-outs of the agent's link are part of what is tested.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/system-lib.sh"

[ "${VMPOKE_FULL-}" = 1 ] || { skip "over vsock" "takes minutes; VMPOKE_FULL=1 runs it"; finish; }
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip "over vsock" "no guest kernel with modules"; finish; }
qemu=$("$root/tests/fetch" qemu-10 2>>"$work/fetch.log") || { skip "over vsock" "QEMU 10 cannot be had"; finish; }

# What tests/fetch finds there, as far as it is used.
pack_guest() {
	local to=$system/cache/test-guest-6.1 file
	mkdir -p "$to/boot" && cp "$guest"/boot/vmlinuz-* "$to/boot/" && cp -r "$guest/lib" "$to/" || return
	to=$system/cache/test-qemu-10
	mkdir -p "$to"/usr/{bin,share/qemu,share/seabios} && cp "$qemu/usr/bin/qemu-system-x86_64" "$to/usr/bin/" || return
	system_libraries "$qemu/usr/bin/qemu-system-x86_64"
	for file in bios-256k.bin kvmvapic.bin linuxboot_dma.bin; do
		cp -L "$(find -L "$qemu"/usr/share/{seabios,qemu} -name $file | head -n 1)" "$to/usr/share/qemu/" || return
	done
}

system_make tests/e2e/agent-{vsock-host,lib,cases}.sh tests/e2e/qmp.py tests/demo.yaml build/vmpoke-agent \
	build/tests/initramfs.gz build/test/vmpoke{d,-vm,} && system_program jq cpio gzip pgrep ldd && pack_guest ||
	{ not_ok "over vsock" "${WHY:-cannot be packed}"; finish; }
system_script "$work/script" "env VM_BOOT_LIMIT=240 bash tests/e2e/agent-vsock-host.sh"
"$root/tests/rig/run" n --cpus 1 --memory 1536 --timeout 550 \
	--modules "vsock vmw_vsock_virtio_transport_common vhost_iotlb vhost vhost_vsock" "$work/script" "$work/system.tar" \
	>"$work/out" 2>"$work/rig.log"
status=$?
sed -E 's/^(ok|not ok|skip) /&over vsock: /' "$work/out"
cat "$work/rig.log"
if [ $status = 77 ]; then
	skip "over vsock" "$(tail -n 1 "$work/rig.log")"
elif grep -q '^not ok' "$work/out"; then
	failures=1
elif [ $status != 0 ]; then
	not_ok "over vsock" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
finish
