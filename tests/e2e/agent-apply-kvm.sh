#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Patches with the guest's text_mutex held (--agent-use full) in a machine of our own: on this
# machine's KVM where that runs Linux, else on a host made for it (tests/rig, lane n), where
# traps are debug registers. VMPOKE_FULL=1: more rounds. agent-apply-host.sh is what runs there.
# Alone: an emulated host.
. "$(dirname "$0")/../lib.sh"
. "$root/tests/e2e/agent-lib.sh"

rounds=1
[ "${VMPOKE_FULL-}" != 1 ] || rounds=50
lane=n
! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || lane=native
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip "text_mutex on KVM" "no guest kernel with modules"; finish; }
make_initramfs virtio_ring virtio virtio_mmio virtio_console || { not_ok "initramfs" "$WHY"; finish; }
cp "$(kernel_image)" "$work/guest-kernel"
cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
{ echo "ROUNDS=$rounds"; cat "$root/tests/e2e/agent-apply-host.sh"; } >"$work/script"
"$root/tests/rig/run" $lane --memory 1536 --timeout $((rounds > 1 ? 550 : 240)) "$work/script" "$work/guest-kernel" \
	"$work/guest-initramfs" "$root/tests/demo.yaml" "$root/tests/e2e/host-lib.sh" "$build/vmpoked" "$build/vmpoke-vm" \
	"$build/vmpoke" >"$work/out" 2>"$work/rig.log"
status=$?
sed -E "s/^(ok|not ok|skip) /&lane $lane: /" "$work/out"
cat "$work/rig.log"
if [ $status = 77 ]; then
	skip "text_mutex on KVM, lane $lane" "$(tail -n 1 "$work/rig.log")"
elif [ $status != 0 ] && ! grep -q '^not ok' "$work/out"; then
	not_ok "text_mutex on KVM, lane $lane" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
! grep -q '^not ok' "$work/out" || failures=1
finish
