// SPDX-License-Identifier: GPL-2.0-or-later
/* Fetches a list page by page; see pages.h. Must end whatever the peer answers: every page has to move forward. */
#include "cli/pages.h"

#include <errno.h>
#include <string.h>

#include "cli/cli.h"

/* 1024 ASCII names of the greatest length the kernel has (512) stay below QMP_MESSAGE_MAX. */
#define PAGE_COUNT 1024
#define ITEMS_MAX  4000000 /* more than the symbols of any kernel with all its modules; ends a peer that never does */

struct pages {
	const char *command, *member;
	json_t *args; /* borrowed */
};

/* Garbage for names (a hostile guest) takes six bytes a character in JSON: then fewer of them at a time. */
static int page_call(struct cli *c, const struct pages *p, json_int_t start, json_t **ret, struct err *e)
{
	for (int count = PAGE_COUNT;; count /= 2) {
		json_t *args = json_copy(p->args);

		json_object_set_new(args, "start", json_integer(start));
		json_object_set_new(args, "count", json_integer(count));
		int r = cli_call(c, p->command, args, JSON_OBJECT, ret, e);
		if (r >= 0 || count == 1 || strcmp(e->rule, "reply-size") != 0)
			return r;
	}
}

/* One page at start; *ret_next is -1 at the end. */
static int page_fetch(struct cli *c, const struct pages *p, json_int_t start, json_t **ret, json_int_t *ret_next,
		      struct err *e)
{
	json_auto_t *page = NULL;
	int r = page_call(c, p, start, &page, e);

	if (r < 0)
		return r;
	json_t *next = json_object_get(page, "next");
	*ret_next = json_integer_value(next);
	if (!json_is_integer(next) || !json_is_array(json_object_get(page, p->member)) ||
	    (*ret_next != -1 && (*ret_next <= start || *ret_next > ITEMS_MAX)))
		return cli_lost(c, p->command, -EPROTO, e);
	*ret = json_incref(page);
	return 0;
}

static int page_keep(const struct pages *p, json_t **all, json_t *page, struct err *e)
{
	if (!*all)
		*all = json_incref(page);
	else if (json_array_extend(json_object_get(*all, p->member), json_object_get(page, p->member)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	return 0;
}

int page_print(struct cli *c, json_t *page, const char *member, page_item_fn print, struct err *e)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(page, member), i, item) {
		int r = print(c, item, e);
		if (r < 0)
			return r;
	}
	return ferror(c->out.stream) ? output_flush(&c->out, e) : 0;
}

int pages_print(struct cli *c, const char *command, json_t *stolen, const char *member, page_item_fn print,
		struct err *e)
{
	json_auto_t *args = stolen, *all = NULL;
	const struct pages p = { .command = command, .member = member, .args = args };

	for (json_int_t start = 0; start >= 0;) {
		json_auto_t *page = NULL;
		int r = page_fetch(c, &p, start, &page, &start, e);

		if (r >= 0)
			r = c->options.json ? page_keep(&p, &all, page, e) : page_print(c, page, member, print, e);
		if (r < 0)
			return r;
	}
	if (c->options.json) {
		json_object_set_new(all, "next", json_integer(-1));
		output_json(&c->out, all);
	}
	return 0;
}
