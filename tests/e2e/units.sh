#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The units of systemd/ and of the agent: what systemd-analyze says of them, then the service run by
# a real service manager, a "systemd --user" of root in namespaces and a cgroup of its own
# (units-manager.sh is the part in there). Nothing of this machine's own systemd is touched.
. "$(dirname "$0")/../lib.sh"
units=$work/units
agent=vmpoke-agent.service

# The units as they are, but for where the programs are.
copied() {
	mkdir -p "$units"
	cp "$root"/systemd/*.service "$root"/systemd/*.socket "$root/guest-agent/$agent" "$units" || return
	sed -i -E "s,^(ExecStart=)/usr/sbin/,\1$build/," "$units"/vmpoked.service
	sed -i -E "s,^(ExecStart=)/.*/(vmpoke-agent|vmpoke-libvirt),\1$root/build/\2," "$units"/*.service
	[ -x "$root/build/vmpoke-libvirt" ] || rm "$units/vmpoke-libvirt.service" # there is no libvirt to build it with
}

# An unknown key is only a line on stderr, and status 0.
verify() { # UNIT FILE...
	systemd-analyze --man=no verify "$@" >"$work/verify" 2>&1 && [ ! -s "$work/verify" ]
}

clean() { verify "$units"/* || why "systemd-analyze verify: $(head -n 1 "$work/verify")"; }

dirty_is_seen() {
	mkdir "$work/dirty"
	{ cat "$units/vmpoked.service" && printf '[Service]\nNoSuchKey=1\n'; } >"$work/dirty/vmpoked.service"
	cp "$units"/*.socket "$work/dirty"
	! verify "$work"/dirty/* || why "an unknown key passed"
}

# exposure UNIT: 22 for 2.2
exposure() {
	systemd-analyze --offline=true --no-pager security "$units/$1" 2>&1 |
		sed -n 's/.*exposure level for [^ ]*: \([0-9]*\)\.\([0-9]\).*/\1\2/p'
}

exposed_little() { # UNIT MOST
	local level
	level=$(exposure "$1")
	[ -n "$level" ] || why "no exposure level was told" || return
	[ "$level" -le "$2" ] || why "exposure level $level of at most $2 (tenths)"
}

group_made() {
	mkdir -p "$work/root/usr/lib/sysusers.d" "$work/root/etc"
	cp /etc/passwd /etc/group "$work/root/etc" # so that it takes a free number
	sed -i '/^vmpoke:/d' "$work/root/etc/group"
	cp "$root/systemd/vmpoke.sysusers" "$work/root/usr/lib/sysusers.d/vmpoke.conf"
	systemd-sysusers --root="$work/root" >"$work/sysusers" 2>&1 || why "$(tail -n 1 "$work/sysusers")" || return
	grep -q '^vmpoke:' "$work/root/etc/group" || why "no group vmpoke"
}

folder_made() {
	mkdir -p "$work/root/usr/lib/tmpfiles.d"
	cp "$root/systemd/vmpoke.tmpfiles" "$work/root/usr/lib/tmpfiles.d/vmpoke.conf"
	systemd-tmpfiles --root="$work/root" --create vmpoke.conf >"$work/tmpfiles" 2>&1 && [ ! -s "$work/tmpfiles" ] ||
		why "$(tail -n 1 "$work/tmpfiles")" || return
	expect_eq "mode and group of the folder" "$(stat -c '%a %g' "$work/root/run/vmpoke")" \
		"755 $(sed -n 's/^vmpoke:[^:]*:\([0-9]*\):.*/\1/p' "$work/root/etc/group")"
}

# A cgroup for the manager: it moves whatever it finds beside itself into a scope of its own.
cgroups_make() {
	local path hierarchy
	while IFS=: read -r _ hierarchy path; do
		case $hierarchy in
		name=systemd) path=/sys/fs/cgroup/systemd$path ;;
		'') if [ -d /sys/fs/cgroup/unified ]; then path=/sys/fs/cgroup/unified$path; else path=/sys/fs/cgroup$path; fi ;;
		*) continue ;;
		esac
		mkdir "${path%/}/vmpoke-units.$$" 2>/dev/null || return
		cgroups+=("${path%/}/vmpoke-units.$$")
	done </proc/self/cgroup
	[ ${#cgroups[@]} -gt 0 ]
}

cgroups_remove() {
	local dir
	for dir in ${cgroups[@]+"${cgroups[@]}"}; do
		find "$dir" -depth -type d -exec rmdir {} \; 2>/dev/null
	done
}

# Ends with everything it started, as its process namespace does.
manager_part() {
	local dir status
	(
		for dir in "${cgroups[@]}"; do
			echo $BASHPID >"$dir/cgroup.procs" || exit 75
		done
		VMPOKE_UNITS=$units VMPOKE_GROUP=$work/root/etc/group exec setpriv --pdeathsig KILL timeout -k 5 240 \
			unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
			bash "$root/tests/e2e/units-manager.sh"
	)
	status=$?
	[ $status = 75 ] && skip units-manager "a process cannot be moved to a cgroup here"
	[ $status = 0 ] || [ $status = 75 ] || failures=$((failures + 1))
}

if ! command -v systemd-analyze >/dev/null; then
	skip units "no systemd-analyze"
	finish
fi
run_case "units are copied" copied || finish
run_case "systemd-analyze verify has nothing to say" clean
run_case "it would have" dirty_is_seen
run_case "exposure of vmpoked.service is at most 2.5" exposed_little vmpoked.service 25
[ ! -e "$units/vmpoke-libvirt.service" ] ||
	run_case "exposure of vmpoke-libvirt.service is at most 2.0" exposed_little vmpoke-libvirt.service 20
run_case "exposure of vmpoke-agent.service is at most 5.0" exposed_little $agent 50
run_case "sysusers.d makes the group" group_made
run_case "tmpfiles.d makes the folder" folder_made

cgroups=()
trap 'status=$?; cgroups_remove; (exit $status); lib_cleanup' EXIT
if [ "$(id -u)" != 0 ]; then
	skip units-manager "needs root: a mount namespace, cgroups"
elif ! unshare --mount --pid --fork true 2>/dev/null; then
	skip units-manager "no namespaces here"
elif ! cgroups_make; then
	skip units-manager "no cgroup can be made here"
else
	manager_part
fi
finish
