// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of links. A new one is one file and one row here. */
#include "guest-agent/link.h"

#include <string.h>

#include "guest-agent/link_packet.h"

struct agent_link *agent_link_at(size_t i)
{
	struct agent_link *const links[] = { agent_link_port, agent_link_vsock, agent_link_packet };

	return i < sizeof(links) / sizeof(links[0]) ? links[i] : NULL;
}

struct agent_link *agent_link_find(const char *name)
{
	struct agent_link *l;

	for (size_t i = 0; (l = agent_link_at(i)); i++)
		if (!strcmp(l->ops->name, name))
			return l;
	return NULL;
}
