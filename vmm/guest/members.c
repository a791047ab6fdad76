// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's BTF as bytes, and where it says a member is. Nothing of it is kept: it is
 * megabytes, and a worker per VM must stay small.
 */
#include <errno.h>
#include <malloc.h>

#include "vmm/guest/image.h"
#include "vmm/guest/internal.h"
#include "vmm/guest/scratch.h"

#define BTF_MAX (64u << 20) /* 4 MiB in Debian's kernels */

static int no_btf(struct err *e)
{
	return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "the guest's kernel has no usable BTF");
}

int btf_copy(struct guest *g, uint64_t start, uint64_t end, struct scratch *ret, uint32_t *ret_len, struct err *e)
{
	if (end <= start || end - start > BTF_MAX)
		return no_btf(e);
	if (!scratch_alloc(ret, (size_t)(end - start)))
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	*ret_len = (uint32_t)(end - start);
	return walk_read(&g->walk, start, ret->p, (size_t)(end - start), e);
}

int guest_member_offsets(struct guest *g, struct guest_member *wants, size_t n, struct err *e)
{
	struct symbol_want bounds[2] = { { .name = "__start_BTF" }, { .name = "__stop_BTF" } };
	_cleanup_scratch_ struct scratch btf = { 0 };
	uint32_t len;

	walk_flush(&g->walk);
	symbols_resolve(&g->syms, bounds, ARRAY_SIZE(bounds));
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++)
		if (!bounds[i].found || !image_holds(&g->window, bounds[i].addr))
			return no_btf(e);
	int r = btf_copy(g, bounds[0].addr, bounds[1].addr, &btf, &len, e);
	if (r >= 0)
		r = members_from_btf(wants, n, btf.p, len, e);
	malloc_trim(0); /* libbpf needed several MiB */
	return r;
}
