# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What function.sh and function-cve.sh share: objects and patch files. Source it after lib.sh, with $guest
# the folder of a kernel and its modules.

. "$root/tests/e2e/agent-lib.sh"

kernel_flags=(-O2 -std=gnu11 -fno-pic -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-stack-protector
	-fcf-protection=none -fno-asynchronous-unwind-tables)

# One thread for all vCPUs, as in borrow.sh. 2: not to be had.
start_guest() {
	make_initramfs virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_console || return 1
	agent_vm_start -q 10 -t single --
}

patch_of() { # NAME AT SYMBOL [OBJECT]
	printf 'vmpoke: 1\nname: %s\nsites:\n  - { at: %s, kind: function, object: %s, symbol: %s }\n' \
		"$1" "$2" "${4-$1.o}" "$3" >"$work/$1.yaml"
}

payloads() { vp_ok --json status web && expect_eq "payloads in the guest" "$(field '[.payloads[].state] | join(" ")')" "$1"; }

# After a revert (OUT): the memory is the guest's again. The agent's thread may have left the address of it on its
# stack when it asked for it, where it looks like somebody inside; what is kept is tried again with every change.
payload_freed() {
	local i
	[ -e "$work/again.yaml" ] ||
		printf 'vmpoke: 1\nname: again\nsites:\n  - { at: __x64_sys_getegid, kind: return, value: 4242 }\n' >"$work/again.yaml"
	for ((i = 0; i < 5; i++)); do
		case $(field '[.payloads[] | "\(.state) \(.why)"] | join(";")') in
		*"kept "*"task stack of vmpoke-agent "*) ;;
		*) break ;;
		esac
		echo "# kept: $(field '[.payloads[].why // empty] | join(";")')"
		vp_ok apply web "$work/again.yaml" && vp_ok --json revert web again || return
	done
	expect_eq "payloads" "$(field '[.payloads[].state] | unique | join(" ")')" freed || why "$WHY: $OUT"
}
