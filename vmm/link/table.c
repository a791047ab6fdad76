// SPDX-License-Identifier: GPL-2.0-or-later
/* The links we have, best first: who serves the agent alone comes before who shares a network card. Must never hold state. */
#include <errno.h>
#include <string.h>

#include "vmm/link/link.h"
#include "vmm/link/rows.h"

const struct link_ops *const link_table[] = {
	&link_virtio_serial,
	&link_vsock,
	&link_xdp,
	NULL,
};

const struct link_ops *link_find(const char *name)
{
	for (size_t i = 0; link_table[i]; i++)
		if (!strcmp(link_table[i]->name, name))
			return link_table[i];
	return NULL;
}

int link_choose(const struct link_target *target, const struct link_ops **ret, struct err *e)
{
	char reasons[3 * (LINK_WHY_MAX + 32)] = "", why[LINK_WHY_MAX];
	size_t used = 0;

	for (size_t i = 0; link_table[i]; i++) {
		why[0] = '\0';
		if (link_table[i]->probe(target, why, sizeof(why)) > 0) {
			*ret = link_table[i];
			return 0;
		}
		if (used < sizeof(reasons))
			used += (size_t)snprintf(reasons + used, sizeof(reasons) - used, "%s%s: %s", used ? "; " : "",
						 link_table[i]->name, why);
	}
	return err_set(e, ERR_NOT_FOUND, ENOENT, "no-link", "no way to the agent: %s", reasons);
}
