// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses of agents: whatever is taken keeps the promises of agent_addr.h. */
#include <stdlib.h>
#include <string.h>

#include "protocol/agent_addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_addr a;
	char *text = strndup((const char *)data, size);

	if (text && agent_addr_parse(text, &a, NULL) == 0) {
		if (a.kind == AGENT_ADDR_UNIX && (a.path[0] != '/' || strlen(a.path) >= sizeof(a.path)))
			abort();
		if (a.kind == AGENT_ADDR_VSOCK && (a.cid < 3 || a.cid == UINT32_MAX || !a.port || a.port == UINT32_MAX))
			abort();
		if (a.kind == AGENT_ADDR_XDP && (!a.ifname[0] || strlen(a.ifname) >= sizeof(a.ifname) || a.mac[0] & 1))
			abort();
	}
	free(text);
	return 0;
}
