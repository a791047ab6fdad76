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

static const struct kind_ops *const kinds[] = { &kind_bytes, &kind_return, &kind_jump, &kind_nop,
					       &kind_immediate, &kind_static_key, &kind_static_call,
					       &kind_alternative, &kind_pv_group, &kind_detour };

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

static int resolve(const struct kind_context *ctx, const struct patch_place *place, uint64_t *ret, struct err *e)
{
	*ret = place->offset;
	return place->symbol[0] ? resolve_symbol(ctx, place, ret, e) : 0;
}

int kind_resolve(const struct kind_context *ctx, const struct patch_place *place, const char *what, uint64_t *ret,
		 struct err *e)
{
	int r = resolve(ctx, place, ret, e);

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

/*
 * Text: the longest instruction more than the range, so that its last one can be decoded; less at the
 * end of text. Data: only itself.
 */
static int want_read(const struct kind_context *ctx, struct plan_want *w, struct err *e)
{
	size_t n = w->len;

	if (!w->data)
		for (n += ARCH_INSN_MAX; n > w->len && !guest_is_text(ctx->guest, w->gva, n);)
			n--;
	w->present_len = (uint8_t)n;
	return guest_read(ctx->guest, w->gva, w->present, n, e);
}

/* Under the name the patch uses where that is near: an address may have several. */
static void want_label(const struct kind_context *ctx, const struct patch_place *at, uint64_t place,
		       struct plan_want *w)
{
	uint64_t base = place - at->offset;

	if (at->symbol[0] && !w->data && w->gva - base < FUNCTION_SIZE_MAX)
		snprintf(w->label, sizeof(w->label), "%.70s+0x%" PRIx64, at->symbol, w->gva - base);
	else if (at->symbol[0] && w->gva == base)
		snprintf(w->label, sizeof(w->label), "%.90s", at->symbol);
	else
		guest_format_addr(ctx->guest, w->gva, w->label, sizeof(w->label));
}

static int check_text(const struct kind_context *ctx, const struct plan_want *w, struct err *e)
{
	if (guest_is_text(ctx->guest, w->gva, w->len))
		return 0;
	return err_set_addr(e, ERR_REFUSED, EFAULT, "not-text", w->gva,
			    "%u bytes at 0x%" PRIx64 " are not all kernel text that stays after boot", w->len, w->gva);
}

static int want_complete(const struct kind_context *ctx, const struct patchfile_site *site, uint64_t place,
			 struct plan_want *w, struct err *e)
{
	int r = w->data || w->module ? 0 : check_text(ctx, w, e);

	if (r < 0)
		return r;
	want_label(ctx, &site->at, place, w);
	w->line = site->line;
	r = want_translate(ctx, w, e);
	return r < 0 ? r : want_read(ctx, w, e);
}

/* Where "at" is data: by its symbol with the kind's prefix, or as it stands. */
static int resolve_data(const struct kind_context *ctx, const struct kind_ops *ops, const struct patch_place *at,
			uint64_t *ret, struct err *e)
{
	struct patch_place longer = *at;

	if (ops->prefix && at->symbol[0] && strncmp(at->symbol, ops->prefix, strlen(ops->prefix)) != 0) {
		snprintf(longer.symbol, sizeof(longer.symbol), "%s%.240s", ops->prefix, at->symbol);
		if (resolve(ctx, &longer, ret, e) >= 0)
			return 0;
		*e = (struct err){ 0 };
	}
	return resolve(ctx, at, ret, e);
}

/* The function around a place in text, and that an instruction begins there. */
static int place_load(const struct kind_context *ctx, const struct patchfile_site *site, uint64_t place,
		      struct function *ret, struct err *e)
{
	int r = function_load(ctx, place, ret, e);

	return r < 0 || kind_old_differs(site, ret, place) ? r : function_boundary(ctx, ret, place, e);
}

static int expand_site(const struct kind_context *ctx, const struct patchfile_site *site, struct want_list *out,
		       struct err *e)
{
	const struct kind_ops *ops = kind_find(site->kind);
	__attribute__((cleanup(function_clear))) struct function fn = { 0 };
	size_t first = out->n;
	uint64_t place;

	if (!ops)
		return err_set(e, ERR_USAGE, EINVAL, "", "unknown kind %d", (int)site->kind);
	int r = ops->at_data ? resolve_data(ctx, ops, &site->at, &place, e) : kind_resolve(ctx, &site->at, "at", &place, e);
	if (r >= 0 && !ops->at_data)
		r = place_load(ctx, site, place, &fn, e);
	if (r >= 0)
		r = ops->expand(ctx, site, ops->at_data ? NULL : &fn, place, out, e);
	for (size_t i = first; r >= 0 && i < out->n; i++)
		r = want_complete(ctx, site, place, &out->wants[i], e);
	return r;
}

int kind_expand(const struct kind_context *ctx, const struct patchfile_site *site, struct want_list *out, struct err *e)
{
	char place[PATCHFILE_SYMBOL_MAX + 32];
	size_t before = out->n;
	int r = expand_site(ctx, site, out, e);

	if (r < 0) {
		out->n = before;
		patch_place_format(&site->at, place, sizeof(place));
		err_prefix(e, "line %d: %.255s", site->line, place);
	}
	return r < 0 ? r : 0;
}
