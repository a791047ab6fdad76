// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Walks the kernel's hash table of kprobes (kernel/kprobes.c, kprobe_table); see kprobes.h. It
 * hashes addresses, all of it is looked at. Hostile input: the number of probes is bounded. Must
 * never touch what a probe points to.
 */
#include "vmm/guest/kprobes.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/internal.h"

#define BUCKETS	 64 /* KPROBE_HASH_BITS, 6 since 2005 */
#define SPAN_MAX 512
/* An optimised probe is a jump, and what it replaces is copied (arch/x86/kernel/kprobes/opt.c, RELATIVEJUMP_SIZE). */
#define REACH 5

void guest_kprobes_clear(struct guest_kprobes *k)
{
	free(k->at);
	*k = (struct guest_kprobes){ 0 };
}

int guest_kprobes_prepare(struct guest *g, struct err *e)
{
	struct kprobe_layout l = { .ready = true };
	const struct layout_member members[] = {
		{ "kprobe", "hlist", &l.link, true },
		{ "kprobe", "addr", &l.addr, true },
	};
	struct err why = { 0 };

	if (g->kprobes.ready)
		return 0;
	if (guest_symbol_find(g, "kprobe_table", &l.table, NULL, NULL) >= 0) {
		int r = layout_members_read(g, members, ARRAY_SIZE(members), &why);

		malloc_trim(0); /* libbpf needed several MiB; a worker per VM must stay small */
		if (r == -ENOMEM)
			return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
		if (r < 0 || l.link > SPAN_MAX - 16 || l.addr > SPAN_MAX - 8)
			l.table = 0;
		guest_symbol_find(g, "kprobe_mutex", &l.mutex, NULL, NULL);
	}
	g->kprobes = l;
	return 0;
}

/* One bucket: a list that ends with 0. */
static int bucket_add(struct guest *g, uint64_t node, struct guest_kprobes *k, struct err *e)
{
	const struct kprobe_layout *l = &g->kprobes;
	uint8_t probe[SPAN_MAX];
	size_t low = l->link < l->addr ? l->link : l->addr;
	size_t high = (l->link < l->addr ? l->addr : l->link) + 8;

	while (node) {
		if (k->n == GUEST_KPROBES_MAX)
			return err_set_addr(e, ERR_REFUSED, EBADMSG, "kprobe", l->table,
					    "the guest's list of kprobes has no end, or more than %d", GUEST_KPROBES_MAX);
		int r = guest_read(g, node - l->link + low, probe + low, high - low, e);
		if (r < 0)
			return r;
		memcpy(&k->at[k->n++], probe + l->addr, sizeof(*k->at));
		memcpy(&node, probe + l->link, sizeof(node));
	}
	return 0;
}

int guest_kprobes_read(struct guest *g, struct guest_kprobes *ret, struct err *e)
{
	__attribute__((cleanup(guest_kprobes_clear))) struct guest_kprobes k = { 0 };
	uint64_t heads[BUCKETS];
	int r = guest_kprobes_prepare(g, e);

	if (r >= 0 && g->kprobes.table) {
		k.at = calloc(GUEST_KPROBES_MAX, sizeof(*k.at));
		if (!k.at)
			return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
		r = guest_read(g, g->kprobes.table, heads, sizeof(heads), e);
		for (size_t i = 0; r >= 0 && i < BUCKETS; i++)
			r = bucket_add(g, heads[i], &k, e);
	}
	if (r < 0)
		return r;
	*ret = k;
	k = (struct guest_kprobes){ 0 };
	return 0;
}

const uint64_t *guest_kprobes_near(const struct guest_kprobes *k, uint64_t gva, size_t len)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->at[i] < gva + len && gva < k->at[i] + REACH)
			return &k->at[i];
	return NULL;
}

int guest_kprobes_moving(struct guest *g, struct err *e)
{
	uint64_t owner = 0; /* struct mutex begins with it */
	int r = g->kprobes.mutex ? guest_read(g, g->kprobes.mutex, &owner, sizeof(owner), e) : 0;

	return r < 0 ? r : owner != 0;
}
