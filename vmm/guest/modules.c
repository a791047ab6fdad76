// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Walks the kernel's list of modules; see modules.h. Where the members of struct module
 * are is told by the guest's BTF. Hostile input: the list is bounded, an entry is read
 * once, and what it says is checked by whoever uses it.
 */
#include "vmm/guest/modules.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/internal.h"

void guest_modules_clear(struct guest_modules *m)
{
	free(m->module);
	*m = (struct guest_modules){ 0 };
}

static int no_modules(struct err *e, const char *what)
{
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "modules", "the guest's modules cannot be looked through: %s", what);
}

/* include/linux/module.h: struct module_layout core_layout until 6.3, struct module_memory mem[] (text first) since. */
static int layout_find(struct guest *g, struct module_layout *l, struct err *e)
{
	uint32_t core = LAYOUT_NONE, base = LAYOUT_NONE, text_size = LAYOUT_NONE, mem = LAYOUT_NONE,
		 mem_base = LAYOUT_NONE, mem_size = LAYOUT_NONE;
	const struct layout_member members[] = {
		{ "module", "list", &l->list, true },
		{ "module", "state", &l->state, true },
		{ "module", "jump_entries", &l->keys, true },
		{ "module", "num_jump_entries", &l->n_keys, true },
		{ "module", "static_call_sites", &l->calls, false },
		{ "module", "num_static_call_sites", &l->n_calls, false },
		{ "module", "core_layout", &core, false },
		{ "module_layout", "base", &base, false },
		{ "module_layout", "text_size", &text_size, false },
		{ "module", "mem", &mem, false },
		{ "module_memory", "base", &mem_base, false },
		{ "module_memory", "size", &mem_size, false },
	};
	int r = layout_members_read(g, members, ARRAY_SIZE(members), e);

	if (r < 0)
		return r;
	if (mem != LAYOUT_NONE && mem_base != LAYOUT_NONE && mem_size != LAYOUT_NONE) {
		l->text = mem + mem_base;
		l->text_len = mem + mem_size;
	} else if (core != LAYOUT_NONE && base != LAYOUT_NONE && text_size != LAYOUT_NONE) {
		l->text = core + base;
		l->text_len = core + text_size;
	} else {
		return no_modules(e, "their text is not where it is known to be");
	}
	return 0;
}

static int layout_read(struct guest *g, struct module_layout *ret, struct err *e)
{
	struct module_layout l = { .calls = LAYOUT_NONE, .n_calls = LAYOUT_NONE };
	int r = layout_find(g, &l, e);

	if (r < 0)
		return r;
	l.span = 8;
	for (size_t i = 0; i < sizeof(l.at) / sizeof(l.at[0]); i++)
		if (l.at[i] != LAYOUT_NONE && l.at[i] + 16 > l.span)
			l.span = l.at[i] + 16;
	if (l.span > LAYOUT_SPAN_MAX)
		return no_modules(e, "struct module is too large");
	l.ready = true;
	*ret = l;
	return 0;
}

static uint64_t word(const uint8_t *p, uint32_t offset, size_t size)
{
	uint64_t v = 0;

	if (offset != LAYOUT_NONE)
		memcpy(&v, p + offset, size);
	return v;
}

static int module_add(struct guest_modules *m, const struct module_layout *l, const uint8_t *p, struct err *e)
{
	struct guest_module *grown;

	/* enum module_state: MODULE_STATE_LIVE is 0. */
	if (word(p, l->state, 4)) {
		m->moving = true;
		return 0;
	}
	grown = reallocarray(m->module, m->n + 1, sizeof(*grown));
	if (!grown)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	m->module = grown;
	m->module[m->n++] = (struct guest_module){
		.text = word(p, l->text, 8),
		.text_len = word(p, l->text_len, 4),
		.keys = word(p, l->keys, 8),
		.n_keys = word(p, l->n_keys, 4),
		.calls = word(p, l->calls, 8),
		.n_calls = word(p, l->n_calls, 4),
	};
	return 0;
}

static int list_walk(struct guest *g, uint64_t head, struct guest_modules *m, struct err *e)
{
	const struct module_layout *l = &g->modules;
	_cleanup_free_ uint8_t *p = malloc(l->span);
	uint64_t node = 0;

	if (!p)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = guest_read(g, head, &node, sizeof(node), e);
	for (size_t i = 0; r >= 0 && node != head; i++) {
		if (i == GUEST_MODULES_MAX)
			return err_set_addr(e, ERR_REFUSED, EBADMSG, "modules", head, "the guest's list of modules has no end");
		r = guest_read(g, node - l->list, p, l->span, e);
		if (r >= 0)
			r = module_add(m, l, p, e);
		node = word(p, l->list, 8);
	}
	return r < 0 ? r : 0;
}

int guest_modules_read(struct guest *g, struct guest_modules *ret, struct err *e)
{
	__attribute__((cleanup(guest_modules_clear))) struct guest_modules m = { 0 };
	uint64_t head;
	int r = 0;

	if (guest_symbol_find(g, "modules", &head, NULL, NULL) < 0) {
		/* kernel/kmod.c, in every kernel that loads modules. Functions have names where data has none. */
		if (guest_symbol_find(g, "__request_module", NULL, NULL, NULL) != -ENOENT)
			r = no_modules(e, "their list has no name in its symbol table");
	} else {
		if (!g->modules.ready) {
			r = layout_read(g, &g->modules, e);
			malloc_trim(0); /* libbpf needed several MiB; a worker per VM must stay small */
		}
		if (r >= 0)
			r = list_walk(g, head, &m, e);
	}
	if (r < 0)
		return r;
	*ret = m;
	m = (struct guest_modules){ 0 };
	return 0;
}

bool guest_modules_hold(const struct guest_modules *m, uint64_t gva, size_t len)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct guest_module *module = &m->module[i];

		if (gva >= module->text && len <= module->text_len && gva - module->text <= module->text_len - len)
			return true;
	}
	return false;
}
