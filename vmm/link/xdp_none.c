// SPDX-License-Identifier: GPL-2.0-or-later
/* The row "xdp" of a vmpoke that was built where clang, bpftool or libxdp were missing. Says so, does nothing. */
#include <errno.h>

#include "vmm/link/rows.h"

static int xdp_probe(const struct link_target *target, char *why, size_t cap)
{
	(void)target;
	snprintf(why, cap, "this vmpoke was built without XDP (clang, bpftool or libxdp-dev was missing)");
	return 0;
}

static int xdp_open(const struct link_target *target, struct link **ret, struct err *e)
{
	(void)target;
	(void)ret;
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "no-xdp", "xdp: this vmpoke was built without XDP");
}

const struct link_ops link_xdp = {
	.name = "xdp",
	.probe = xdp_probe,
	.open = xdp_open,
};
