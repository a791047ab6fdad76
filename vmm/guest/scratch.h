/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Big short-lived buffers straight from mmap, so that they are gone when freed: malloc
 * would keep megabytes for later, and a worker per VM must stay small.
 */
#ifndef VMPOKE_VMM_GUEST_SCRATCH_H
#define VMPOKE_VMM_GUEST_SCRATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "protocol/util.h"

struct scratch {
	uint8_t *p;
	size_t len;
};

/* NULL when memory is short. */
static inline uint8_t *scratch_alloc(struct scratch *s, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*s = (struct scratch){ .p = p == MAP_FAILED ? NULL : p, .len = len };
	return s->p;
}

static inline void scratch_free(struct scratch *s)
{
	if (s->p)
		munmap(s->p, s->len);
	s->p = NULL;
}

#define _cleanup_scratch_ __attribute__((cleanup(scratch_free)))

#endif
