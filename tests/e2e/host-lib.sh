# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts that run on a host made by tests/rig have in common: they read it
# from $RIG_FILES. For busybox sh.
dir=$(mktemp -d)
# shellcheck disable=SC2034 # whoever reads this file ends with it
failed=0

check() { # NAME COMMAND...
	name=$1
	shift
	if "$@" >"$dir/last" 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name: $(tail -n 1 "$dir/last")"
		failed=1
	fi
}

within() { # SECONDS COMMAND...
	n=$(($1 * 5))
	shift
	until "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.2
	done
}

# The daemon's folders, and vmpoke on its socket.
sock=$dir/run/control.sock
mkdir "$dir/run" "$dir/state"
vp() { vmpoke -c "$sock" "$@"; }
