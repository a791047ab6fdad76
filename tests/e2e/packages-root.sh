# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The part of packages.sh that runs in a mount namespace: on a fresh Debian ($VMPOKE_BASE, which stays as
# it is) the packages in $VMPOKE_DEBS are installed by apt, used as vmpoke(1) says, removed and purged.
. "$(dirname "$0")/../lib.sh"
# Not below $work, which is removed with all that is in it.
fresh=/mnt

device() { mknod -m 666 "$fresh/dev/$1" c "$2" "$3"; }

# QEMU and vmpoked share /run, as on a host: the one makes sockets where the other says.
fresh_made() {
	mkdir -p "$work"/{upper,over}
	mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs $fresh || return
	mount -t overlay overlay -o "lowerdir=$VMPOKE_BASE,upperdir=$work/upper,workdir=$work/over" "$fresh" 2>>"$work/mount.log" ||
		cp -a "$VMPOKE_BASE/." "$fresh" || return # into the tmpfs
	mount --bind /run "$fresh/run" && mount -t proc proc "$fresh/proc" && mount -t tmpfs tmpfs "$fresh/tmp" || return
	mount -t tmpfs tmpfs "$fresh/dev" && device null 1 3 && device zero 1 5 && device urandom 1 9 || return
	cp "$VMPOKE_DEBS"/*.deb "$fresh/tmp"
	rm -f "$fresh"/tmp/libvmpoke-dev_* "$fresh"/tmp/*-dbgsym_* # a compiler is not what is tried here
	debs=("$fresh"/tmp/*.deb) debs=("${debs[@]#"$fresh"}")
	packages=("${debs[@]#/tmp/}") packages=("${packages[@]%%_*}")
}

inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$fresh" "$@"; }

# Files of the fresh system, but for what dpkg keeps of its own.
files() {
	(cd "$fresh" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log \
		-o -path ./root \) -prune -o \( -name '*-' -path './etc/*' -o -name .pwd.lock \) -o -print | sort)
	cat "$fresh/etc/group" "$fresh/etc/passwd"
}

installed() {
	files >"$work/before"
	inside apt-get -y --no-install-recommends --no-download install "${debs[@]}" >"$work/apt.log" 2>&1 </dev/null ||
		{ inside apt-get update && inside apt-get -y --no-install-recommends install "${debs[@]}"; } >>"$work/apt.log" 2>&1 </dev/null ||
		why "apt: $(grep -E '^E: |rror' "$work/apt.log" | tail -n 1)" || return
	grep -q '^vmpoke:' "$fresh/etc/group" || why "no group vmpoke" || return
	expect_eq "mode of /etc/vmpoke" "$(stat -c '%a %U' "$fresh/etc/vmpoke/keys.d")" "755 root"
}

enabled() {
	local unit
	for unit in sockets.target.wants/vmpoked.socket sockets.target.wants/vmpoked-ro.socket multi-user.target.wants/vmpoked.service; do
		[ -L "$fresh/etc/systemd/system/$unit" ] || why "$unit is not enabled" || return
	done
}

started() {
	setpriv --pdeathsig KILL env -i PATH=/usr/sbin:/usr/bin chroot "$fresh" vmpoked --foreground \
		>"$work/vmpoked.out" 2>"$work/vmpoked.log" </dev/null &
	daemon_pid=$!
	until_ok 90 [ -S /run/vmpoke/control.sock ] || why "vmpoked did not start: $(tail -n 1 "$work/vmpoked.log")"
}

# The commands as they stand in the manual page.
quick_start() {
	local line n=0
	sed -n '/^# QUICK START/,/^# VERBS/s/^    //p' "$root/docs/man/vmpoke.1.md" >"$work/quick"
	while read -r line; do
		n=$((n + 1))
		inside sh -c "$line" >"$work/quick.$n" 2>&1 </dev/null || why "$line: exit code $?: $(tail -n 1 "$work/quick.$n")" ||
			return
		case $line in
		*' apply '*) expect_eq "getpgrp() after apply" "$(vm_pgrp web1)" 4242 || return ;;
		*' revert '*) expect_eq "getpgrp() after revert" "$(vm_pgrp web1)" own || return ;;
		esac
	done <"$work/quick"
	[ "$n" -ge 6 ] || why "only $n commands were found" || return
	vm_healthy web1
}

removed() {
	inside apt-get -y remove "${packages[@]}" >"$work/apt.log" 2>&1 </dev/null ||
		why "apt: $(tail -n 1 "$work/apt.log")" || return
	[ ! -e "$fresh/usr/bin/vmpoke" ] || why "the program is still there" || return
	[ -d "$fresh/var/lib/vmpoke" ] || why "remove took the journals along"
}

purged() {
	inside dpkg --purge "${packages[@]}" >"$work/apt.log" 2>&1 </dev/null ||
		why "dpkg: $(tail -n 1 "$work/apt.log")" || return
	[ ! -e /run/vmpoke ] || why "/run/vmpoke is left" || return
	files >"$work/after"
	diff "$work/before" "$work/after" >"$work/left" || why "left or gone: $(grep '^[<>]' "$work/left" | head -n 5 | tr '\n' ' ')"
}

run_case "a fresh Debian" fresh_made || finish
run_case "apt installs the packages" installed || finish
run_case "the units are enabled" enabled
run_case "the installed vmpoked starts" started
vm_start web1 -s 2 -- -qmp unix:/run/web1.qmp,server=on,wait=off
case $? in
0) run_case "the quick start of vmpoke(1)" quick_start ;;
2) skip "the quick start of vmpoke(1)" "$WHY" ;;
*) not_ok "the quick start of vmpoke(1)" "$WHY" ;;
esac
run_case "it ends" daemon_stop
run_case "removed, the journals stay" removed
run_case "purged, nothing is left" purged
finish
