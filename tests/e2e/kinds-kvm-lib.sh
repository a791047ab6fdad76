# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# What kinds-kvm.sh needs: a stock kernel with the modules of our machines, packed for a host that has
# KVM, and the script that runs there. Source it after tests/lib.sh.

lane=n
! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || lane=native
plain_guest=$guest_dir

# The last is one that nobody uses. 6.12 has some built in.
modules_of() { # KERNEL
	[ "$1" != 6.1 ] || echo virtio_ring virtio
	echo virtio_mmio
	[ "$1" != 6.1 ] || echo virtio_console
	echo failover net_failover virtio_net
}

# Everything the host's script reads, in $work/KERNEL. 2: not to be had.
pack_guest() { # KERNEL
	guest=$("$root/tests/fetch" "guest-$1" 2>>"$work/fetch.log") || why "no kernel $1 with modules" || return 2
	# shellcheck source=tests/e2e/function-lib.sh
	. "$root/tests/e2e/function-lib.sh"
	rm -rf "$work/tree" "$work/guest"
	guest_dir=$plain_guest
	# shellcheck disable=SC2046
	make_initramfs $(modules_of "$1") || return 1
	mkdir -p "$work/$1"
	cp "$(kernel_image)" "$work/$1/guest-kernel" && cp "$guest_dir/initramfs.gz" "$work/$1/guest-initramfs" || return 1
	"$root/build/tests/list-alternatives" "$work/$1/guest-kernel" >"$work/$1/alternatives" || why "the kernel's file cannot be read" || return 1
	printf 'extern int int_sqrt(unsigned long);\nlong number(void);\nlong number(void) { return int_sqrt(4343UL * 4343UL); }\n' >"$work/number.c"
	gcc "${kernel_flags[@]}" -c "$work/number.c" -o "$work/$1/number.o" 2>"$work/gcc.log" || why "gcc: $(head -n 1 "$work/gcc.log")" || return 1
}

# on_host KERNEL NAME LIMIT SCRIPT [OPTIONS OF rig/run]: runs it there and shows what it said.
on_host() {
	local kernel=$1 name=$2 limit=$3 script=$4 status
	shift 4
	WHY=
	pack_guest "$kernel"
	status=$?
	case $status in
	0) ;;
	2) skip "$name, Linux $kernel" "$WHY"; return ;;
	*) not_ok "$name, Linux $kernel" "$WHY"; return ;;
	esac
	"$root/tests/rig/run" "$lane" --memory 1536 --timeout "$limit" "$@" "$script" "$work/$kernel"/* "$root/tests/e2e/host-lib.sh" \
		"$root/tests/e2e/kinds-host-lib.sh" "$build/vmpoked" "$build/vmpoke-vm" "$build/vmpoke" >"$work/out" 2>"$work/rig.log"
	status=$?
	sed -E "s/^(ok|not ok|skip) /&lane $lane, Linux $kernel: /" "$work/out"
	cat "$work/rig.log"
	if [ $status = 77 ]; then
		skip "$name, lane $lane" "$(tail -n 1 "$work/rig.log")"
	elif [ $status != 0 ] && ! grep -q '^not ok' "$work/out"; then
		not_ok "$name, lane $lane, Linux $kernel" "ended with status $status: $(tail -n 1 "$work/rig.log")"
	fi
	! grep -q '^not ok' "$work/out" || failures=$((failures + 1))
}
