#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent over vsock, on a host with KVM and vhost_vsock (see agent-vsock.sh): a stock guest under QEMU's
# -accel kvm with a vhost-vsock-pci, its agent listening there, vmpoked calling it. Its virtio-serial port is
# there too and nobody's.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
. "$root/tests/e2e/agent-lib.sh"
. "$root/tests/e2e/agent-cases.sh"
cid=42 address=vsock:$cid link=vsock agent_options="--link vsock" without=off # its kernel resets the connection
guest=$("$root/tests/fetch" guest-6.1)

# Only its own key opens a session, and only the CID that was given.
with_key() {
	echo "$key" >"$work/key" && chmod 600 "$work/key" && vp_ok remove web && add --agent-key "$work/key" || return
	vp --json agent web
	[ "$(field .state)" != ready ] || why "an agent without a key was taken" || return
	vm_do web agent-kill && vm_do web agent "--link vsock --key /etc/agent.key" && agent_is ready || return
	expect_eq authenticated "$(field .authenticated)" true || return
	vp_ok remove web && vm_do web agent-kill && add && agent_start
}

[ -c /dev/vhost-vsock ] || { not_ok "vhost-vsock" "this host has no /dev/vhost-vsock"; finish; }
make_initramfs virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_console vsock \
	vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport || { not_ok initramfs "$WHY"; finish; }
agent_vm_start -q 10 -s 1 -- -device "vhost-vsock-pci,guest-cid=$cid" || { not_ok "the guest starts" "$WHY"; finish; }
run_case "vmpoked starts" daemon_start
run_case "nobody listens" nobody
run_case "found" found
run_case "asked before text is changed" asked
run_case "killed between check and apply" killed
run_case "killed meanwhile" killed_meanwhile
run_case "the daemon is killed" daemon_dies
run_case "the guest is rebooted" rebooted
run_case "found by the next daemons" found_again
run_case "the worker dies before the stop" worker_dies journal-paused
run_case "the worker dies with half of it written" worker_dies poke-site-written
run_case "the VM is paused" paused
run_case "a key" with_key
run_case "a port where nobody listens" other_address "vsock:$cid:806"
run_case "a CID that nobody has" other_address vsock:43
run_case "guest is healthy" vm_healthy web
daemon_stop
finish
