// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's BTF as bytes. Nothing of it is kept: it is megabytes, and a worker per VM must stay small.
 */
#include <errno.h>

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
