// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of kinds, and what they all need: a place becomes an address in
 * kernel text, an address its function, a range its physical addresses and
 * present bytes. Reads the guest through vmm/guest; must never write, and must
 * never turn a name that stands for two places into one of them.
 */
#include "vmm/kind/kind.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/kind/row.h"

static const struct kind_ops *const kinds[] = { &kind_bytes, &kind_return, &kind_jump, &kind_nop };

static const struct kind_ops *kind_find(enum patch_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i]->kind == kind)
			return kinds[i];
	return NULL;
}

static int resolve_failed(const struct kind_context *ctx, const struct patch_place *place, int r, size_t count,
			  struct err *e)
{
	if (r == -ENOENT)
		return err_set(e, ERR_REFUSED, ENOENT, "unknown-symbol", "unknown symbol '%s' in %s", place->symbol,
			       guest_facts(ctx->guest)->release);
	if (r == -ENOTUNIQ)
		return err_set(
			e, ERR_REFUSED, ENOTUNIQ, "ambiguous-symbol",
			"ambiguous symbol '%s': %zu addresses have this name; give one of them as 0x... instead (`vmpoke symbols VM %s` lists them)",
			place->symbol, count, place->symbol);
	return err_set(e, ERR_FAILED, -r, "", "symbol '%s' cannot be looked up: %s", place->symbol, strerror(-r));
}

/* An offset that leads out of its symbol is a slip of the pen, or another kernel's offset. */
static int check_offset(const struct kind_context *ctx, const struct patch_place *place, uint64_t addr, struct err *e)
{
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	uint64_t size = 0;

	if (!symbol)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = guest_symbol_at(ctx->guest, addr, symbol, &size);
	if (r >= 0 && symbol->addr == addr && place->offset < size)
		return 0;
	return err_set_addr(e, ERR_REFUSED, ENOENT, "unknown-symbol", addr + place->offset,
			    "the offset 0x%" PRIx64 " lies beyond '%s', which is 0x%" PRIx64 " bytes long",
			    place->offset, place->symbol, size);
}

static int resolve_symbol(const struct kind_context *ctx, const struct patch_place *place, uint64_t *ret, struct err *e)
{
	uint64_t addr = 0;
	size_t count = 0;
	char type;
	int r = guest_symbol_find(ctx->guest, place->symbol, &addr, &type, &count);

	if (r < 0)
		return resolve_failed(ctx, place, r, count, e);
	*ret = addr + place->offset;
	return place->offset ? check_offset(ctx, place, addr, e) : 0;
}

int kind_resolve(const struct kind_context *ctx, const struct patch_place *place, const char *what, uint64_t *ret,
		 struct err *e)
{
	int r = 0;

	*ret = place->offset;
	if (place->symbol[0])
		r = resolve_symbol(ctx, place, ret, e);
	if (r < 0 || guest_is_text(ctx->guest, *ret, 1))
		return r;
	return err_set_addr(e, ERR_REFUSED, EFAULT, "not-text", *ret,
			    "'%s' is 0x%" PRIx64 ", which is not kernel text that stays after boot", what, *ret);
}

bool kind_old_differs(const struct patchfile_site *site, const struct function *fn, uint64_t place)
{
	uint64_t offset = place - fn->start;

	return site->old_len > 0 &&
	       (site->old_len > fn->size - offset || memcmp(fn->code + offset, site->old_bytes, site->old_len) != 0);
}

/* One crossing at most: a site is shorter than a page. */
static int want_translate(const struct kind_context *ctx, struct plan_want *w, struct err *e)
{
	uint64_t left = 0, ignored;
	int r = guest_translate(ctx->guest, w->gva, &w->gpa, &left, e);

	if (r < 0)
		return r;
	w->split = left < w->len ? (uint8_t)left : w->len;
	if (w->split == 0)
		return err_set_addr(e, ERR_FAILED, EBADMSG, "", w->gva, "the guest's page tables make no sense here");
	if (w->split == w->len)
		return 0;
	return guest_translate(ctx->guest, w->gva + w->split, &w->gpa_rest, &ignored, e);
}

/* The longest instruction more than the range, so that its last one can be decoded; less at the end of text. */
static int want_read(const struct kind_context *ctx, struct plan_want *w, struct err *e)
{
	size_t n = w->len + ARCH_INSN_MAX;

	while (n > w->len && !guest_is_text(ctx->guest, w->gva, n))
		n--;
	w->present_len = (uint8_t)n;
	return guest_read(ctx->guest, w->gva, w->present, n, e);
}

/* Under the name the patch uses: an address may have several. */
static void want_label(const struct kind_context *ctx, const struct patch_place *at, uint64_t place,
		       struct plan_want *w)
{
	if (at->symbol[0])
		snprintf(w->label, sizeof(w->label), "%.70s+0x%" PRIx64, at->symbol, w->gva - (place - at->offset));
	else
		guest_format_addr(ctx->guest, w->gva, w->label, sizeof(w->label));
}

static int want_complete(const struct kind_context *ctx, const struct patchfile_site *site, uint64_t place,
			 struct plan_want *w, struct err *e)
{
	if (w->len < 1 || w->len > POKE_SITE_LEN_MAX || !guest_is_text(ctx->guest, w->gva, w->len))
		return err_set_addr(e, ERR_REFUSED, EFAULT, "not-text", w->gva,
				    "%u bytes at 0x%" PRIx64 " are not all kernel text that stays after boot", w->len,
				    w->gva);
	want_label(ctx, &site->at, place, w);
	w->line = site->line;
	int r = want_translate(ctx, w, e);
	return r < 0 ? r : want_read(ctx, w, e);
}

static int expand_site(const struct kind_context *ctx, const struct patchfile_site *site, struct plan_want *w,
		       struct err *e)
{
	const struct kind_ops *ops = kind_find(site->kind);
	__attribute__((cleanup(function_clear))) struct function fn = { 0 };
	uint64_t place;

	if (!ops)
		return err_set(e, ERR_USAGE, EINVAL, "", "unknown kind %d", (int)site->kind);
	int r = kind_resolve(ctx, &site->at, "at", &place, e);
	if (r >= 0)
		r = function_load(ctx, place, &fn, e);
	if (r >= 0 && !kind_old_differs(site, &fn, place))
		r = function_boundary(ctx, &fn, place, e);
	if (r >= 0)
		r = ops->expand(ctx, site, &fn, place, w, e);
	return r < 0 ? r : want_complete(ctx, site, place, w, e);
}

int kind_expand(const struct kind_context *ctx, const struct patchfile_site *site, struct plan_want *ret, struct err *e)
{
	struct plan_want w = { 0 };
	char place[PATCHFILE_SYMBOL_MAX + 32];
	int r = expand_site(ctx, site, &w, e);

	if (r < 0) {
		patch_place_format(&site->at, place, sizeof(place));
		err_prefix(e, "line %d: %.255s", site->line, place);
		return r;
	}
	*ret = w;
	return 0;
}
