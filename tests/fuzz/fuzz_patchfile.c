// SPDX-License-Identifier: GPL-2.0-or-later
/* Patch files. Whatever is accepted must keep the promises of patchfile.h; whatever is refused must say where. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/patchfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_place(const struct patch_place *p)
{
	char text[PATCHFILE_SYMBOL_MAX + 32];
	struct patch_place again;

	patch_place_format(p, text, sizeof(text));
	check(patch_place_parse(text, &again) == 0);
	check(strcmp(again.symbol, p->symbol) == 0 && again.offset == p->offset);
}

static void check_site(const struct patchfile_site *s)
{
	check(s->line >= 1);
	check(s->old_len <= PATCHFILE_BYTES_MAX && s->new_len <= PATCHFILE_BYTES_MAX);
	if (s->kind == PATCH_KIND_RETURN)
		check(s->value >= INT32_MIN && s->value <= UINT32_MAX && !s->value_unsigned);
	check_place(&s->at);
	if (s->kind == PATCH_KIND_JUMP || s->kind == PATCH_KIND_STATIC_CALL)
		check_place(&s->to);
	if (s->kind == PATCH_KIND_FUNCTION)
		check(s->to.symbol[0] && !s->to.offset);
	if (s->kind == PATCH_KIND_BYTES)
		check(s->old_len > 0 && s->old_len == s->new_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct patchfile *p = NULL;
	struct err e = { 0 };
	int r = patchfile_parse((const char *)data, size, "f", &p, &e);

	if (r < 0) {
		check(p == NULL && strncmp(e.text, "f:", 2) == 0 && e.error == -r);
		return 0;
	}
	check(patch_name_valid(p->name) && p->n_sites > 0 && p->n_sites <= PATCHFILE_SITES_MAX);
	check(p->build_id_len <= sizeof(p->build_id));
	check(p->n_exclusions <= PATCHFILE_EXCLUSIONS_MAX);
	for (size_t i = 0; i < p->n_exclusions; i++) {
		check(p->exclusions[i].line >= 1);
		check_place(&p->exclusions[i].from);
		check_place(&p->exclusions[i].to);
	}
	check(strlen(p->object) <= PATCHFILE_OBJECT_MAX);
	for (size_t i = 0; i < p->n_sites; i++) {
		check_site(&p->sites[i]);
		check(p->sites[i].kind != PATCH_KIND_FUNCTION || p->object[0]);
	}
	patchfile_free(p);
	return 0;
}
