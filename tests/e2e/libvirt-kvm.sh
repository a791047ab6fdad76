#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Domains of libvirtd under genuine KVM (<domain type='kvm'>) on a host of stock Debian: libvirt's cases on a host made for
# the occasion (tests/rig, lane n), with this machine's libvirtd and QEMU. libvirt-kvm-host.sh is what runs there.
# The host has one CPU: with more its emulated ones lose stores (rig/lane-n.sh). Slow: VMPOKE_FULL=1.
# Alone: an emulated host.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/system-lib.sh"
. "$root/tests/e2e/libvirt-lib.sh"
. "$root/tests/e2e/libvirt-pack.sh"

[ "${VMPOKE_FULL-}" = 1 ] || { skip KVM "takes minutes; VMPOKE_FULL=1 runs it"; finish; }
rig_libvirt KVM libvirt-kvm-host.sh
finish
