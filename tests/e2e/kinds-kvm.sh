#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kinds on a stock guest in a machine of our own, each in the modes that are open to it, seen to act by
# what the guest prints, reverted; then the guest's own use of the same facilities. On this machine's
# KVM where that runs Linux, else on a host made for it (tests/rig, lane n), where traps are
# debug registers. kinds-host.sh is the part that runs there. Minutes: only with VMPOKE_FULL=1.
# Alone: the emulated CPUs of lane n are slow and lose stores as it is (tests/rig/lane-n.sh).
. "$(dirname "$0")/../lib.sh"
[ -n "${VMPOKE_FULL-}" ] || { skip "kinds on KVM" "only with VMPOKE_FULL=1"; finish; }
guest=$("$root/tests/fetch" guest-6.1 2>>"$work/fetch.log") || { skip "kinds on KVM" "no guest kernel with modules"; finish; }
# shellcheck source=tests/e2e/function-lib.sh
. "$root/tests/e2e/function-lib.sh"

lane=n
! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || lane=native
make_initramfs virtio_ring virtio virtio_mmio virtio_console || { not_ok "initramfs" "$WHY"; finish; }
cp "$(kernel_image)" "$work/guest-kernel"
cp "$guest_dir/initramfs.gz" "$work/guest-initramfs"
"$root/build/tests/list-alternatives" "$work/guest-kernel" >"$work/alternatives" || { not_ok "the kernel's file" "cannot be read"; finish; }
printf 'extern int int_sqrt(unsigned long);\nlong number(void);\nlong number(void) { return int_sqrt(4343UL * 4343UL); }\n' >"$work/number.c"
gcc "${kernel_flags[@]}" -c "$work/number.c" -o "$work/number.o" 2>"$work/gcc.log" || { not_ok "gcc makes an object" "$(head -n 1 "$work/gcc.log")"; finish; }
"$root/tests/rig/run" $lane --memory 1536 --timeout 550 "$root/tests/e2e/kinds-host.sh" "$work/guest-kernel" \
	"$work/guest-initramfs" "$work/alternatives" "$work/number.o" "$root/tests/e2e/host-lib.sh" "$build/vmpoked" \
	"$build/vmpoke-vm" "$build/vmpoke" >"$work/out" 2>"$work/rig.log"
status=$?
sed -E "s/^(ok|not ok|skip) /&lane $lane: /" "$work/out"
cat "$work/rig.log"
if [ $status = 77 ]; then
	skip "kinds on KVM, lane $lane" "$(tail -n 1 "$work/rig.log")"
elif [ $status != 0 ] && ! grep -q '^not ok' "$work/out"; then
	not_ok "kinds on KVM, lane $lane" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
! grep -q '^not ok' "$work/out" || failures=1
finish
