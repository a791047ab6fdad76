#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu:///session: a user without privileges has a libvirtd, vmpoke-libvirt and vmpoked of his own, and no right to
# anything else. VMPOKE_FULL=1 adds a libvirtd that goes and comes back, a saved domain and a rule. Root makes the user, in
# a mount namespace, and shows him this source tree; libvirt-session-user.sh is what he runs.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/libvirt-lib.sh"

missing=$(libvirt_missing)
[ -n "$missing" ] || [ -x "$build/vmpoke-libvirt" ] || missing="vmpoke-libvirt was not built: no libvirt-dev"
[ -n "$missing" ] || image=$(kernel_image 6.1 2>>"$work/fetch.log") || missing="no kernel 6.1 here"
[ -z "$missing" ] || { skip session "$missing"; finish; }

user=64058
chmod 711 "$work"
mkdir -p "$work"/{tree,home/tmp} && cp "$image" "$work/vmlinuz" && chmod 644 "$work/vmlinuz"
{ cat /etc/passwd; echo "tester:x:$user:$user::$work/home:/bin/sh"; } >"$work/passwd"
{ cat /etc/group; echo "tester:x:$user:"; } >"$work/group"
chmod 644 "$work/passwd" "$work/group"
chown -R $user:$user "$work/home"
setpriv --pdeathsig KILL unshare -m --propagation private bash -c '
	set -e
	mount --bind "$0" "$1/tree"
	mount --bind "$1/passwd" /etc/passwd
	mount --bind "$1/group" /etc/group
	cd "$1/home"
	exec setpriv --pdeathsig TERM --reuid="$2" --regid="$2" --clear-groups --no-new-privs env -i HOME="$1/home" TMPDIR="$1/home/tmp" \
		PATH=/usr/bin:/bin VMPOKE_FULL="$3" SESSION_KERNEL="$1/vmlinuz" bash "$1/tree/tests/e2e/libvirt-session-user.sh"' \
	"$root" "$work" $user "${VMPOKE_FULL-}" 2>"$work/session.err" >"$work/out"
status=$?
cat "$work/out"
if grep -q '^not ok' "$work/out"; then
	failures=1
elif [ $status != 0 ]; then
	not_ok session "ended with status $status: $(tail -n 1 "$work/session.err")"
fi
finish
