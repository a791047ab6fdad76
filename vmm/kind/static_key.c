// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `static_key`: a static key is enabled or disabled, as static_key_enable() and
 * static_key_disable() would do it (kernel/jump_label.c): its state and each of its
 * jumps together, in the forms the kernel itself writes, so that its next own change
 * finds what it compares with. Must never touch a key that is counted: whoever has a
 * share in it would take away another's.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/guest/sites.h"
#include "vmm/kind/row.h"

/* include/linux/jump_label.h, struct static_key: atomic_t enabled, then a pointer with flags at 8. */
#define POINTER_AT 8
#define KEY_SIZE   16

struct key {
	uint64_t at;
	uint8_t bytes[KEY_SIZE];
	int32_t enabled;
	uint64_t pointer;
};

static int key_read(const struct kind_context *ctx, uint64_t at, struct key *ret, struct err *e)
{
	int r = guest_read(ctx->guest, at, ret->bytes, sizeof(ret->bytes), e);

	if (r < 0)
		return r;
	ret->at = at;
	memcpy(&ret->enabled, ret->bytes, sizeof(ret->enabled));
	memcpy(&ret->pointer, ret->bytes + POINTER_AT, sizeof(ret->pointer));
	return 0;
}

static int key_check(const struct key *key, struct err *e)
{
	if (key->enabled < 0)
		return err_set_addr(e, ERR_REFUSED, EBUSY, "guest-poking", key->at,
				    "the guest is enabling this key at this moment; try again");
	if (key->enabled > 1)
		return err_set_addr(
			e, ERR_REFUSED, EBUSY, "key-count", key->at,
			"this key is counted: %d parts of the kernel have it enabled, and each will take back its own",
			key->enabled);
	return 0;
}

/* A key that modules use too, where they cannot be looked through. */
static int modules_check(const struct key *key, const struct guest_sites *sites, struct err *e)
{
	if (!(key->pointer & GUEST_KEY_LINKED) || sites->whole)
		return 0;
	return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "modules", key->at,
			    "modules have places of this key as well, which are not known: %s", sites->modules_why);
}

/* What the kernel has there while the key is in that state; len 2 or 5 (arm64: 4), as it was compiled. */
static int form(const struct kind_context *ctx, const struct guest_site *site, bool enabled, uint8_t *out, size_t len,
		struct err *e)
{
	bool jump = enabled != site->inverted;
	ssize_t n = !jump ? ctx->arch->encode_nop(out, len) :
		    ctx->arch->encode_branch ? ctx->arch->encode_branch(out, len, site->at, site->target) :
					       -EOPNOTSUPP;

	if (n == (ssize_t)len)
		return 0;
	return err_set_addr(e, ERR_REFUSED, ERANGE, "range", site->at,
			    "the kernel's list says that %zu bytes here lead to 0x%" PRIx64 ", which they cannot", len,
			    site->target);
}

/* x86 has long and short jumps, arm64 one size of everything. */
static bool len_fits(const struct arch_ops *arch, const struct arch_insn *insn)
{
	return !insn->trap && (arch->align > 1 ? insn->len == arch->align : insn->len == 2 || insn->len == 5);
}

static int site_len(const struct kind_context *ctx, const struct guest_site *site, uint8_t *ret, struct err *e)
{
	uint8_t code[ARCH_INSN_MAX];
	struct arch_insn insn = { 0 };
	size_t n = sizeof(code);

	if (ctx->arch->align > 1)
		n = ctx->arch->align;
	else if (site->module)
		n = 5;
	while (n > 5 && !guest_is_text(ctx->guest, site->at, n))
		n--;
	int r = guest_read(ctx->guest, site->at, code, n, e);
	if (r < 0)
		return r;
	if (ctx->arch->decode(code, n, site->at, &insn) == 0 && len_fits(ctx->arch, &insn)) {
		*ret = insn.len;
		return 0;
	}
	return err_set_addr(e, ERR_REFUSED, insn.trap ? EBUSY : ESTALE, insn.trap ? "kprobe" : "old-bytes", site->at,
			    insn.trap ? "a breakpoint is on a jump of this key: the guest is patching itself" :
					"a place of this key holds neither a jump nor a NOP of its own");
}

static int site_want(const struct kind_context *ctx, const struct guest_site *site, const struct key *key, bool enable,
		     struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = site->at, .new_is_code = true, .has_expected = true, .module = site->module };

	if (!site->module && !guest_is_text(ctx->guest, site->at, 1))
		return err_set_addr(e, ERR_REFUSED, EFAULT, "not-text", site->at,
				    "a place of this key is not kernel text that stays after boot");
	int r = site_len(ctx, site, &w.len, e);
	if (r >= 0)
		r = form(ctx, site, key->enabled, w.expected, w.len, e);
	if (r >= 0)
		r = form(ctx, site, enable, w.new_bytes, w.len, e);
	return r < 0 ? r : want_list_add(out, &w, e);
}

/*
 * The pointer stays and is part of the site all the same: a module that is loaded or
 * unloaded before we write, with jumps of this key, changes it.
 */
static int state_want(const struct key *key, bool enable, struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = key->at, .len = KEY_SIZE, .data = true, .has_expected = true };
	int32_t state = enable;

	memcpy(w.expected, key->bytes, KEY_SIZE);
	memcpy(w.new_bytes, key->bytes, KEY_SIZE);
	memcpy(w.new_bytes, &state, sizeof(state));
	return want_list_add(out, &w, e);
}

static int static_key_expand(const struct kind_context *ctx, const struct patchfile_site *site,
			     const struct function *fn, uint64_t place, struct want_list *out, struct err *e)
{
	__attribute__((cleanup(guest_sites_clear))) struct guest_sites own = { 0 };
	const struct guest_sites *sites = NULL;
	struct key key;
	size_t n = 0;

	(void)fn;
	if (!ctx->arch->encode_branch)
		return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "arch", place, "static keys of %s are not changed here",
				    ctx->arch->name);
	int r = tables_sites(ctx, GUEST_SITE_STATIC_KEY, &sites, &own, e);
	for (size_t i = 0; r >= 0 && i < sites->n; i++)
		n += sites->site[i].key == place && !sites->site[i].init;
	if (r >= 0 && n == 0)
		return err_set_addr(e, ERR_REFUSED, ENOENT, "not-key", place,
				    "0x%" PRIx64 " is no static key with a jump in the kernel's text", place);
	if (r >= 0)
		r = key_read(ctx, place, &key, e);
	if (r >= 0)
		r = key_check(&key, e);
	if (r >= 0)
		r = modules_check(&key, sites, e);
	if (r >= 0)
		r = state_want(&key, site->enable, out, e);
	for (size_t i = 0; r >= 0 && i < sites->n; i++)
		if (sites->site[i].key == place && !sites->site[i].init)
			r = site_want(ctx, &sites->site[i], &key, site->enable, out, e);
	return r < 0 ? r : 0;
}

const struct kind_ops kind_static_key = {
	.kind = PATCH_KIND_STATIC_KEY,
	.at_data = true,
	.expand = static_key_expand,
};
