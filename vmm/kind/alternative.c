// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `alternative`: a place that the kernel adapted to its CPU while it booted gets
 * another of its forms. Which forms there are is in the kernel's file only; what
 * is there now must be one of them, or somebody else has been at it. A form that
 * needs an instruction this CPU lacks is the author's business, as new bytes always are.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kind/row.h"

static bool is_pv_call(const struct kind_image *image, const struct guest_alternative *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].call)
			return true;
	for (size_t i = 0; i < image->pv_calls.n; i++)
		if (image->pv_calls.call[i].at == a->at)
			return true;
	return false;
}

static int find(const struct kind_image *image, uint64_t place, const struct guest_alternative **ret, size_t *ret_n,
		struct err *e)
{
	*ret = guest_alternatives_at(&image->alternatives, place, ret_n);
	if (!*ret)
		return err_set_addr(e, ERR_REFUSED, ENOENT, "alternative", place,
				    "no alternative of the kernel begins here");
	if (is_pv_call(image, *ret, *ret_n))
		return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "alternative", place,
				    "a call of pv_ops: what is here belongs to a group, see kind pv_group");
	return 0;
}

/* Which replacement: the only one, or the n-th. */
static int pick(const struct patchfile_site *site, uint64_t place, size_t n, size_t *ret, struct err *e)
{
	if (site->choice == PATCH_CHOICE_REPLACEMENT && n > 1)
		return err_set_addr(e, ERR_REFUSED, ENOTUNIQ, "alternative", place,
				    "there are %zu replacements for this place: choose 1 to %zu", n, n);
	*ret = site->choice == PATCH_CHOICE_REPLACEMENT ? 0 : site->choice_number - 1u;
	if (site->choice == PATCH_CHOICE_ORIGINAL || *ret < n)
		return 0;
	return err_set_addr(e, ERR_REFUSED, ENOENT, "alternative", place, "there %s only %zu replacement%s for this place",
			    n == 1 ? "is" : "are", n, n == 1 ? "" : "s");
}

/* What is there now is the original or one of the replacements. */
static int check_present(const struct kind_context *ctx, const struct function *fn, const struct guest_alternative *a,
			 size_t n, struct err *e)
{
	const uint8_t *present = fn->code + (a->at - fn->start);
	uint8_t form[POKE_SITE_LEN_MAX];
	struct err ignored;

	for (size_t i = 0; i <= n; i++)
		if (alternative_form(ctx, &a[i < n ? i : 0], i == n, form, &ignored) >= 0 &&
		    alternative_same(ctx, present, form, a->len, a->at))
			return 0;
	return err_set_addr(e, ERR_REFUSED, ESTALE, "old-bytes", a->at,
			    "what is here is neither the original nor one of the %zu replacements: somebody changed it", n);
}

static int check_range(const struct kind_context *ctx, const struct function *fn, const struct plan_want *w, struct err *e)
{
	uint64_t new_mask;
	size_t end, bad;

	if (arch_boundaries(ctx->arch, w->new_bytes, w->len, w->gva, w->len, &new_mask, &end, &bad) < 0)
		return err_set_addr(e, ERR_REFUSED, EILSEQ, "decode", w->gva + bad, "the new code does not decode");
	int r = flow_check(ctx, fn, w->gva, w->len, new_mask, e);
	return r < 0 ? r : tables_check_owned(ctx, w->gva, w->len, e);
}

static int alternative_expand(const struct kind_context *ctx, const struct patchfile_site *site,
			      const struct function *fn, uint64_t place, struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = place, .new_is_code = true };
	const struct guest_alternative *a = NULL;
	const struct kind_image *image;
	size_t n = 0, chosen = 0;

	if (ctx->arch != &arch_x86_64)
		return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "arch", place, "alternatives of %s are not known here",
				    ctx->arch->name);
	int r = image_lists(ctx, &image, e);

	if (r >= 0)
		r = find(image, place, &a, &n, e);
	if (r >= 0)
		r = pick(site, place, n, &chosen, e);
	if (r < 0)
		return r;
	if (a->len > fn->size - (place - fn->start))
		return err_set_addr(e, ERR_REFUSED, EFAULT, "too-short", place, "the alternative reaches beyond its function");
	bool original = site->choice == PATCH_CHOICE_ORIGINAL;
	w.len = a->len;
	r = alternative_form(ctx, &a[original ? 0 : chosen], original, w.new_bytes, e);
	if (r >= 0)
		r = check_present(ctx, fn, a, n, e);
	/* The same in other words (a short jump for a long one): nothing to do. */
	if (r >= 0 && alternative_same(ctx, fn->code + (place - fn->start), w.new_bytes, w.len, place))
		memcpy(w.new_bytes, fn->code + (place - fn->start), w.len);
	else if (r >= 0)
		r = check_range(ctx, fn, &w, e);
	return r < 0 ? r : want_list_add(out, &w, e);
}

const struct kind_ops kind_alternative = {
	.kind = PATCH_KIND_ALTERNATIVE,
	.expand = alternative_expand,
};
