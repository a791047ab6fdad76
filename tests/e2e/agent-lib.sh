# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# A stock guest "web" that has an agent, for tests with a vmpoked. Source it after tests/lib.sh,
# and set $guest to what tests/fetch guest-6.1 says.
key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff

# Where its agent is, what it is told, what vmpoke says while there is none, and what else when there was one
# before; a test may set others.
address=unix:$work/web/agent.sock link=virtio-serial agent_options='' without=silent lost=

# The kernel whose modules we have.
kernel_image() { echo "$guest"/boot/vmlinuz-*; }

# make_initramfs [MODULE...]: the test guest with the agent and these modules, or what a port of QEMU's and a
# network card need; later archives add to the first.
make_initramfs() {
	[ $# -gt 0 ] || set -- virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_console failover \
		net_failover virtio_net
	local tree=$work/tree n=10 module file
	mkdir -p "$tree/bin" "$tree/mod" "$tree/etc" "$work/guest"
	cp "$root/build/vmpoke-agent" "$tree/bin/"
	(umask 077 && echo "$key" >"$tree/etc/agent.key")
	for module; do
		file=$(find "$guest/lib/modules" -name "$module.ko")
		[ -n "$file" ] || why "the kernel has no module $module" || return
		cp "$file" "$tree/mod/$((n++))-$module.ko"
	done
	cp "$guest_dir/initramfs.gz" "$work/guest/initramfs.gz"
	(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1) >>"$work/guest/initramfs.gz"
	guest_dir=$work/guest
}

# agent_vm_start [ARGUMENTS OF vm_start] -- [OF QEMU]
agent_vm_start() {
	local mine=()
	while [ "$1" != -- ]; do
		mine+=("$1")
		shift
	done
	shift
	vm_start web "${mine[@]}" -- -device virtio-serial-pci \
		-chardev "socket,id=agent,path=$work/web/agent.sock,server=on,wait=off" \
		-device virtserialport,chardev=agent,name=org.vmpoke.agent.0 "$@"
}

refused() { # EXIT CODE, PATTERN, vmpoke arguments...
	local code=$1 pattern=$2
	shift 2
	vp "$@"
	expect_eq "exit code of vmpoke $*" "$RC" "$code" || why "$WHY ($ERR)" || return
	grep -qE -- "$pattern" <<<"$ERR" || why "the sentence is: $ERR"
}

is_agent() { vp --json agent web; [ "$(field .state)" = "$1" ]; }
agent_is() { until_ok 90 is_agent "$1" || why "the agent is $(field .state) ($(field .why)), expected $1"; }
add() { vp_ok add web --qmp "$work/web/qmp" --agent "$address" "$@"; }
agent_start() { vm_do web agent "$agent_options" && agent_is ready; }
