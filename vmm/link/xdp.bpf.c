// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs on the guest's tap for every frame that the guest sends. Takes out the
 * agent's frames of this one VM; every other frame goes on as if we were not there.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERTYPE 0x88b5 /* DGRAM_ETHERTYPE; its header wants a libc */
#define QUEUES	  16	 /* XDP_QUEUES of xdp_socket.h */

/* The socket of each queue of the tap. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* The VM's MAC address; written before the program is loaded, constant for the verifier. */
const volatile __u8 vm_mac[ETH_ALEN] = { 0 };

static __always_inline int is_from_vm(const struct ethhdr *eth)
{
	for (int i = 0; i < ETH_ALEN; i++)
		if (eth->h_source[i] != vm_mac[i])
			return 0;
	return 1;
}

SEC("xdp")
int agent_frames(struct xdp_md *ctx)
{
	const struct ethhdr *eth = (const void *)(long)ctx->data;

	if ((const void *)(eth + 1) > (const void *)(long)ctx->data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETHERTYPE) || !is_from_vm(eth))
		return XDP_PASS;
	/* A queue without a socket came later than the link: the frame is ours all the same, and nobody else's. */
	return (int)bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
}

char LICENSE[] SEC("license") = "GPL";
