#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The link over AF_XDP on a stock Debian 6.1 kernel, which is what most hosts run and what this machine
# need not have: xdp.sh on a machine of tests/rig, lane t. VMPOKE_FULL=1: all its cases.
# Alone: an emulated host, and time-outs of the link are part of what is tested.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/system-lib.sh"

tools=build/tests/link
system_make tests/link tests/e2e/xdp.sh build/bpf/xdp.bpf.o $tools/link-{ping,echo,relay} || { not_ok "xdp on 6.1" "$WHY"; finish; }
short=1
[ "${VMPOKE_FULL-}" != 1 ] || short=0
system_script "$work/script" "env XDP_SHORT=$short bash tests/e2e/xdp.sh"
"$root/tests/rig/run" t --memory 768 --timeout 400 --modules "tun veth" "$work/script" "$work/system.tar" \
	>"$work/out" 2>"$work/rig.log"
status=$?
sed -E 's/^(ok|not ok|skip) /&Linux 6.1: /' "$work/out"
cat "$work/rig.log"
if [ $status = 77 ]; then
	skip "xdp on 6.1" "$(tail -n 1 "$work/rig.log")"
elif grep -q '^not ok' "$work/out"; then
	failures=1
elif [ $status != 0 ]; then
	not_ok "xdp on 6.1" "ended with status $status: $(tail -n 1 "$work/rig.log")"
fi
finish
