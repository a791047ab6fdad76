// SPDX-License-Identifier: GPL-2.0-or-later
/* See blocker.h. The words are the guest's: bounded and made printable where they were read. */
#include "vmm/worker/blocker.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/guest/guest.h"

int blocker_describe(struct guest *g, const struct guest_blocker *who, const char *what, struct err *e)
{
	struct err_blocker b = { .pid = who->pid };
	char task[48] = "";

	snprintf(b.where, sizeof(b.where), "%s", who->where);
	snprintf(b.comm, sizeof(b.comm), "%s", who->comm);
	guest_format_addr(g, who->address, b.symbol, sizeof(b.symbol));
	if (b.pid >= 0)
		snprintf(task, sizeof(task), " of %s (pid %d)", b.comm[0] ? b.comm : "?", b.pid);
	int r = err_set_addr(e, ERR_TIMEOUT, EBUSY, "busy", who->address, "%.95s is busy: %s%s returns to %s inside it", what,
			     b.where, task, b.symbol);
	if (e)
		e->blocker = b;
	return r;
}
