#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A past vulnerability of Linux closed in a running kernel with kind `function`, and opened again:
# CVE-2026-52928 (fixed in 6.1.177: "af_unix: Reject SIOCATMARK on non-stream sockets") in a stock kernel
# that the archive still has, by one function compiled with that kernel's own headers package.
# One CPU: the time in which the agent answers and its thread comes is part of what is tested.
# shellcheck source=tests/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
guest=$("$root/tests/fetch" old-6.1 2>>"$work/fetch.log") || { skip function-cve "no old kernel: $(tail -n 1 "$work/fetch.log")"; finish; }
# shellcheck source=tests/e2e/function-lib.sh
. "$root/tests/e2e/function-lib.sh"

# As the kernel's own build compiles, less what only objtool and the module loader make use of.
build() {
	local common arch
	common=$(echo "$guest"/usr/src/linux-headers-*-common)
	arch=$(echo "$guest"/usr/src/linux-headers-*-cloud-amd64)
	gcc -nostdinc -I"$common/arch/x86/include" -I"$arch/arch/x86/include/generated" -I"$common/include" -I"$arch/include" \
		-I"$common/arch/x86/include/uapi" -I"$arch/arch/x86/include/generated/uapi" -I"$common/include/uapi" \
		-I"$arch/include/generated/uapi" -include "$common/include/linux/compiler-version.h" \
		-include "$common/include/linux/kconfig.h" -include "$common/include/linux/compiler_types.h" -D__KERNEL__ \
		"${kernel_flags[@]}" -fno-strict-aliasing -fno-common -fshort-wchar -mpreferred-stack-boundary=3 \
		-mindirect-branch=thunk-extern -mindirect-branch-register -mfunction-return=thunk-extern -fno-jump-tables \
		-fno-delete-null-pointer-checks -w -c "$root/tests/e2e/cve/af-unix-at-mark.c" -o "$work/fix.o" 2>"$work/gcc.log" ||
		why "gcc: $(head -n 1 "$work/gcc.log")" || return
	patch_of fix unix_ioctl unix_ioctl_fixed
}

# What the guest answers, see tests/guest/at-mark.c: "datagram A, stream B C, queued D".
answers() {
	local mark
	mark=$(vm_mark web)
	vm_do web at-mark || return
	tail -n "+$((mark + 1))" "$work/web/console" | tr -d '\r' | sed -n 's/^ATMARK //p'
}

closed() {
	vp_ok --json check web "$work/fix.yaml" || return
	vp_ok --json apply web "$work/fix.yaml" || return
	echo "# $(field .elapsed_us) us, of them the guest stood still $(field .longest_pause_us) us"
	expect_eq "the guest" "$(answers)" "$fixed" && verify_clean web && payloads in-use
}

opened() {
	vp_ok --json revert web fix || return
	payload_freed || return
	expect_eq "the guest" "$(answers)" "$vulnerable" && payloads ""
}

start_guest
case $? in
0) ;;
2) skip function-cve "$WHY"; finish ;;
*) not_ok "the guest starts" "$WHY"; finish ;;
esac
# Datagrams have no mark: -95 is EOPNOTSUPP. All else is to stay as it is.
vulnerable=$(answers)
fixed="datagram -95${vulnerable#datagram 0}"
echo "# $(grep -aoE 'UP [^ ]+' "$work/web/console" | head -n 1): $vulnerable"
case $vulnerable in
"datagram 0, stream 0 1, queued "[1-9]) ok "the kernel is vulnerable" ;;
"datagram -95, "*) skip function-cve "the oldest kernel to be had has the fix"; finish ;;
*) not_ok "the kernel is vulnerable" "it answers '$vulnerable'"; finish ;;
esac
run_case "the fix is compiled with the kernel's headers" build
run_case "vmpoked starts" daemon_start
run_case "the VM and its agent are known" add
vm_do web agent
run_case "the agent answers" agent_is ready
run_case "closed in the running kernel" closed
run_case "reverted: as it was" opened
run_case "guest is healthy" vm_healthy web
daemon_stop
finish
