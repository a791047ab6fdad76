#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A domain whose QEMU is confined by AppArmor as on Debian 12, with the profiles of its packages: what docs/libvirt.md says
# of it. On a host made for the occasion (tests/rig, lane n), whose kernel has AppArmor; libvirt-apparmor-host.sh is what
# runs there. Slow: VMPOKE_FULL=1.
# Alone: an emulated host.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/system-lib.sh"
. "$root/tests/e2e/libvirt-lib.sh"
. "$root/tests/e2e/libvirt-pack.sh"

[ "${VMPOKE_FULL-}" = 1 ] || { skip AppArmor "takes minutes; VMPOKE_FULL=1 runs it"; finish; }
apparmor=$("$root/tests/fetch" apparmor-12 2>>"$work/fetch.log") || { skip AppArmor "its packages cannot be had"; finish; }

pack_apparmor() {
	local rules=$system/etc/apparmor.d/local
	cp -r "$apparmor/etc" "$system/" && mkdir -p "$rules/abstractions" && # the scripts of the packages make these
		touch "$rules"/{usr.sbin.libvirtd,usr.lib.libvirt.virt-aa-helper,abstractions/libvirt-qemu} || return
	mkdir -p "$system"/{sbin,usr/share} && cp "$apparmor/sbin/apparmor_parser" "$system/sbin/" &&
		cp -r "$apparmor/usr/share/apparmor-features" "$system/usr/share/" && take /usr/lib/libvirt/virt-aa-helper
	system_libraries "$apparmor/sbin/apparmor_parser"
}

rig_libvirt AppArmor libvirt-apparmor-host.sh pack_apparmor
finish
