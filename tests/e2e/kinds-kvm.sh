#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kinds on a stock guest in a machine of our own, each in the modes that are open to it, seen to act by
# what the guest prints, reverted; then the guest's own use of the same facilities. On this machine's
# KVM where that runs Linux, else on a host made for it (tests/rig, lane n), where traps are
# debug registers. kinds-host.sh is the part that runs there. Minutes: only with VMPOKE_FULL=1.
# VMPOKE_KERNELS=6.12: that one only.
# Alone: the emulated CPUs of lane n are slow and lose stores as it is (tests/rig/lane-n.sh).
. "$(dirname "$0")/../lib.sh"
[ -n "${VMPOKE_FULL-}" ] || { skip "kinds on KVM" "only with VMPOKE_FULL=1"; finish; }
# shellcheck source=tests/e2e/kinds-kvm-lib.sh
. "$root/tests/e2e/kinds-kvm-lib.sh"

for kernel in ${VMPOKE_KERNELS:-6.1 6.12}; do
	on_host "$kernel" "kinds on KVM" 1800 "$root/tests/e2e/kinds-host.sh"
done
finish
