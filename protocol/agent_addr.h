/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the agent of a VM is found, in one word: "unix:PATH" (the socket of its
 * virtio-serial port), "vsock:CID[:PORT]", "xdp:IFNAME,MAC" (a tap and the guest's MAC
 * address there). Checked by whoever takes it; used by the VM's worker alone.
 */
#ifndef VMPOKE_PROTOCOL_AGENT_ADDR_H
#define VMPOKE_PROTOCOL_AGENT_ADDR_H

#include <net/if.h>
#include <stdint.h>
#include <sys/un.h>

#include "protocol/err.h"

#define AGENT_ADDR_TEXT_MAX 128 /* size of a buffer that holds any of them */

enum agent_addr_kind { AGENT_ADDR_NONE, AGENT_ADDR_UNIX, AGENT_ADDR_VSOCK, AGENT_ADDR_XDP };

struct agent_addr {
	enum agent_addr_kind kind;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* unix: absolute */
	uint32_t cid, port; /* vsock; without a port the agent's usual one */
	char ifname[IFNAMSIZ];
	uint8_t mac[6]; /* of one station */
};

/* -EINVAL (ERR_USAGE) with a sentence that says what is wrong. */
int agent_addr_parse(const char *text, struct agent_addr *ret, struct err *e);

#endif
