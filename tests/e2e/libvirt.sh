#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vmpoke-libvirt with a real libvirtd: domains come and go by themselves and are patched through libvirt's monitor;
# libvirtd's return changes nothing of that; patches go along with a domain that is saved. VMPOKE_FULL=1 adds a move
# to another host, deaths of our own programs, a domain with a monitor of its own, and an operator with other plans.
# The cases: libvirt-cases.sh; with KVM: libvirt-kvm.sh; a user's own libvirtd: libvirt-session.sh.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/libvirt-lib.sh"
. "$(dirname "$0")/libvirt-cases.sh"
trap 'status=$?; libvirt_cleanup; (exit $status); lib_cleanup' EXIT

missing=$(libvirt_missing)
if [ -n "$missing" ] || [ ! -x "$build/vmpoke-libvirt" ]; then
	skip libvirt "${missing:-vmpoke-libvirt was not built: no libvirt-dev}"
	finish
fi
cases=(patched taint_said_once hook_said_it libvirtd_restarted in_the_metadata saved_and_restored)
[ -z "${VMPOKE_FULL-}" ] || cases+=(follower_killed service_restarted gone_by_reset)
cases+=(back_by_itself stub_comes_later)
[ -z "${VMPOKE_FULL-}" ] || cases+=(moves)
cases+=(setup_domain_shows setup_domain_writes)
if [ -z "${VMPOKE_FULL-}" ]; then cases+=(destroyed); else cases+=(own_monitor operator_removes operator_first); fi
libvirt_run "${cases[@]}" hook_never_fails
finish
