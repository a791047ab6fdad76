// SPDX-License-Identifier: GPL-2.0-or-later
/* Offsets of members, some of them optional, by the BTF of the guest itself; see layout.h. Nothing of the BTF is kept. */
#include <errno.h>

#include "vmm/guest/guest.h"
#include "vmm/guest/layout.h"
#include "vmm/guest/scratch.h"

#define BTF_MAX (64u << 20) /* 4 MiB in Debian's kernels */

int layout_members_read(struct guest *g, const struct layout_member *members, size_t n, struct err *e)
{
	_cleanup_scratch_ struct scratch btf = { 0 };
	uint64_t start, stop;

	if (guest_symbol_find(g, "__start_BTF", &start, NULL, NULL) < 0 ||
	    guest_symbol_find(g, "__stop_BTF", &stop, NULL, NULL) < 0 || stop <= start || stop - start > BTF_MAX)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "the guest's kernel has no BTF");
	if (!scratch_alloc(&btf, (size_t)(stop - start)))
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int r = guest_read(g, start, btf.p, (size_t)(stop - start), e);
	return r < 0 ? r : layout_members(btf.p, (uint32_t)(stop - start), members, n, e);
}
