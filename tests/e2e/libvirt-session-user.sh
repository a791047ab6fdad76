#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libvirt's cases for a user without privileges, whom libvirt-session.sh makes: his own libvirtd, which he
# reaches as qemu:///session, and everything of ours under his uid.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/libvirt-lib.sh"
. "$root/tests/e2e/libvirt-cases.sh"
trap 'status=$?; libvirt_cleanup; (exit $status); lib_cleanup' EXIT

# Where libvirt looks, in a host of the user's; no client starts a libvirtd that the cases do not know of.
export XDG_RUNTIME_DIR=$work/r XDG_CONFIG_HOME=$work/c XDG_CACHE_HOME=$work/k XDG_DATA_HOME=$work/d LIBVIRT_AUTOSTART=0
uri() { echo qemu:///session; }
inside() { IN=(); }
hook_place() { :; } # only the system has hooks
kernel_image() { echo "$SESSION_KERNEL"; }
host_make() {
	local dir=$work/$1/libvirt
	# shellcheck disable=SC2034
	libvirtd_conf=$XDG_CONFIG_HOME/libvirt/libvirtd.conf channels=$XDG_CONFIG_HOME/libvirt/qemu/channel/target
	mkdir -p "$dir" "$XDG_CONFIG_HOME/libvirt" && mkdir -m 700 "$XDG_RUNTIME_DIR" || return
	echo "log_outputs = \"2:file:$dir/libvirtd.log\"" >"$libvirtd_conf"
	echo 'stdio_handler = "file"' >"$XDG_CONFIG_HOME/libvirt/qemu.conf"
}

# Nobody in this has more than the user's own rights.
unprivileged() {
	local pid
	expect_eq "our uid" "$(id -u)" 64058 || return
	for pid in "${service_pid[a]}" "${follower_pid[a]}" "$(cat "$work/a/libvirt/libvirtd.pid")" "$(cat "$XDG_RUNTIME_DIR/libvirt/qemu/run/web1.pid")"; do
		expect_eq "uids of $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c -60)" "$(awk '/^Uid:/ { print $2, $3, $4, $5 }' "/proc/$pid/status")" "64058 64058 64058 64058" || return
		expect_eq "its capabilities" "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")" 0000000000000000 || return
	done
}

cases=(unprivileged patched)
[ -z "${VMPOKE_FULL-}" ] || cases+=(libvirtd_restarted in_the_metadata saved_and_restored back_by_itself)
libvirt_run "${cases[@]}" destroyed
finish
