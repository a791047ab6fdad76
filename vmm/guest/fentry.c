// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the compiler left room for a tracer: __mcount_loc itself is freed after boot, but
 * ftrace keeps a record of each place (kernel/trace/ftrace.c: struct ftrace_page,
 * struct dyn_ftrace), modules included. Hostile input: groups and records are bounded, a
 * list that has no end is refused.
 */
#include "vmm/guest/fentry.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/internal.h"

#define GROUPS_MAX  4096
#define RECORD_MAX  64
#define RECORDS_MAX 65536 /* of one group; a group is at most 64 KiB in kernels of today */

static int layout_read(struct guest *g, struct fentry_layout *ret, struct err *e)
{
	struct fentry_layout l = { 0 };
	const struct layout_member members[] = {
		{ "ftrace_page", "next", &l.next, true },	{ "ftrace_page", "records", &l.records, true },
		{ "ftrace_page", "index", &l.index, true },	{ "dyn_ftrace", "ip", &l.ip, true },
		{ "dyn_ftrace", NULL, &l.record_size, true },
	};
	int r = layout_members_read(g, members, ARRAY_SIZE(members), e);

	if (r < 0)
		return r;
	if (l.record_size > RECORD_MAX || l.ip + 8 > l.record_size || l.next > 256 || l.records > 256 || l.index > 256)
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "no-btf", "the guest's ftrace records are not what is known of them");
	l.ready = true;
	*ret = l;
	return 0;
}

static int records_add(struct guest *g, uint64_t records, uint32_t n, struct guest_sites *s, struct err *e)
{
	const struct fentry_layout *l = &g->fentry;
	_cleanup_free_ uint8_t *data = malloc((size_t)n * l->record_size + 1);
	struct guest_site *grown = reallocarray(s->site, s->n + n + 1, sizeof(*grown));

	if (grown)
		s->site = grown;
	if (!data || !grown)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = guest_read(g, records, data, (size_t)n * l->record_size, e);
	for (uint32_t i = 0; r >= 0 && i < n; i++) {
		struct guest_site site = { 0 };

		memcpy(&site.at, data + (size_t)i * l->record_size + l->ip, sizeof(site.at));
		site.module = !guest_is_text(g, site.at, 1);
		if (site.at) /* its text was freed: ftrace_free_mem() */
			s->site[s->n++] = site;
	}
	return r < 0 ? r : 0;
}

static int group_add(struct guest *g, uint64_t group, uint64_t *ret_next, struct guest_sites *s, struct err *e)
{
	const struct fentry_layout *l = &g->fentry;
	uint8_t bytes[256 + 8];
	uint64_t records;
	uint32_t n;
	int r = guest_read(g, group, bytes, sizeof(bytes), e);

	if (r < 0)
		return r;
	memcpy(ret_next, bytes + l->next, sizeof(*ret_next));
	memcpy(&records, bytes + l->records, sizeof(records));
	memcpy(&n, bytes + l->index, sizeof(n));
	if (n > RECORDS_MAX || s->n + n > GUEST_SITES_MAX)
		return err_set_addr(e, ERR_REFUSED, EBADMSG, "self-patched", group,
				    "the guest's list of traced places cannot be trusted: %u of them in one group", n);
	return n ? records_add(g, records, n, s, e) : 0;
}

int guest_fentry_read(struct guest *g, struct guest_sites *s, struct err *e)
{
	uint64_t start, group = 0;
	int r = 0;

	if (guest_symbol_find(g, "ftrace_pages_start", &start, NULL, NULL) < 0)
		return 0;
	if (!g->fentry.ready) {
		r = layout_read(g, &g->fentry, e);
		malloc_trim(0); /* libbpf needed several MiB; a worker per VM must stay small */
	}
	if (r >= 0)
		r = guest_read(g, start, &group, sizeof(group), e);
	for (size_t i = 0; r >= 0 && group; i++) {
		if (i == GROUPS_MAX)
			return err_set_addr(e, ERR_REFUSED, EBADMSG, "self-patched", start,
					    "the guest's list of traced places has no end");
		r = group_add(g, group, &group, s, e);
	}
	return r < 0 ? r : 0;
}
