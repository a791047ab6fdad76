// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hash index over the names of kallsyms, made for work that looks up many and
 * dropped after it: it takes 8 bytes a symbol and more, a pass without it 2 ms a
 * name. The guest chose the names, so it can make them all collide: a look-up
 * that has followed too many links gives up and the caller makes the pass.
 */
#include "vmm/guest/names_index.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/guest/kallsyms.h"

#define LINKS_MAX 8192 /* the commonest name of Debian's 6.12, a static variable's, is there 1,400 times */
#define NONE	  UINT32_MAX

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
#define FNV_BASIS 2166136261u
#define FNV_PRIME 16777619u

static uint32_t bucket_of(const struct names_index *x, const char *name)
{
	uint32_t hash = FNV_BASIS;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * FNV_PRIME;
	return hash & x->mask;
}

int names_index_make(struct names_index *x, const struct kallsyms *k)
{
	char name[512], type;
	size_t at = 0, buckets = 1024;

	while (buckets < k->n)
		buckets *= 2;
	x->heads = malloc(buckets * sizeof(*x->heads));
	x->links = malloc((k->n ? k->n : 1) * sizeof(*x->links));
	if (!x->heads || !x->links) {
		names_index_drop(x);
		return -ENOMEM;
	}
	x->mask = (uint32_t)buckets - 1;
	for (size_t i = 0; i < buckets; i++)
		x->heads[i] = NONE;
	for (size_t i = 0; i < k->n; i++) {
		at = kallsyms_expand(k, at, &type, name, sizeof(name));
		uint32_t *head = &x->heads[bucket_of(x, name)];
		x->links[i] = *head;
		*head = (uint32_t)i;
	}
	return 0;
}

void names_index_drop(struct names_index *x)
{
	free(x->heads);
	free(x->links);
	*x = (struct names_index){ 0 };
}

int names_index_next(const struct names_index *x, struct names_cursor *c, const char *name, size_t *ret)
{
	if (!x->heads)
		return -ENOENT;
	uint32_t i = c->started ? x->links[c->at] : x->heads[bucket_of(x, name)];

	if (i == NONE)
		return 0;
	if (c->followed++ == LINKS_MAX)
		return -E2BIG;
	c->started = true;
	c->at = i;
	*ret = i;
	return 1;
}
