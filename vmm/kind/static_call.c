// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `static_call`: a static call leads to another function, to none (`null`) or to
 * one that returns 0 (`ret0`), as static_call_update() would do it (kernel/static_call_inline.c,
 * arch/x86/kernel/static_call.c): the key's function, the trampoline and every call
 * together, in the forms the kernel itself writes; it BUG()s on an opcode that is none
 * of them. Must never write a form whose bytes it could not have told from the kernel's own.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/guest/sites.h"
#include "vmm/kind/row.h"

#define KEY_PREFIX   "__SCK__"
#define TRAMP_PREFIX "__SCT__"
#define FORM_MAX     6
#define NULL_LOOKS   16 /* keys of calls that lead nowhere, asked how they return */

/* include/linux/static_call_types.h, struct static_call_key { void *func; union { type, mods, sites } }. */
struct key {
	uint64_t func, pointer;
};

struct call {
	const struct kind_context *ctx;
	uint64_t key, tramp;
	uint64_t ret0;	    /* address of __static_call_return0; 0: this kernel has none */
	uint64_t null_jump; /* a Jcc to a missing function goes there */
	bool returns_known;
	uint64_t thunk; /* a missing function returns by a jump there; 0: by a bare RET */
};

/* arch/x86/kernel/static_call.c: xor5rax, and retinsn, whose filling nobody executes. */
static const uint8_t xor5rax[] = { 0x2e, 0x2e, 0x2e, 0x31, 0xc0 };
static const uint8_t retinsn[] = { 0xc3, 0xcc, 0xcc, 0xcc, 0xcc };

static uint64_t symbol_addr(const struct kind_context *ctx, const char *name)
{
	uint64_t addr;

	return guest_symbol_find(ctx->guest, name, &addr, NULL, NULL) < 0 ? 0 : addr;
}

static int key_read(const struct kind_context *ctx, uint64_t at, struct key *ret, struct err *e)
{
	uint64_t words[2];
	int r = guest_read(ctx->guest, at, words, sizeof(words), e);

	if (r >= 0)
		*ret = (struct key){ .func = words[0], .pointer = words[1] };
	return r;
}

/* The trampoline of a key goes by the key's name. 0: unknown. */
static uint64_t tramp_of(const struct kind_context *ctx, uint64_t key)
{
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	char name[GUEST_SYMBOL_MAX + 8];
	uint64_t size;

	if (!symbol || guest_symbol_at(ctx->guest, key, symbol, &size) < 0 || symbol->addr != key ||
	    strncmp(symbol->name, KEY_PREFIX, strlen(KEY_PREFIX)) != 0)
		return 0;
	snprintf(name, sizeof(name), TRAMP_PREFIX "%s", symbol->name + strlen(KEY_PREFIX));
	return symbol_addr(ctx, name);
}

/* Where the instruction at that place jumps; 0: it is a RET; else -ENOENT. */
static int return_look(const struct kind_context *ctx, uint64_t at, uint64_t *ret)
{
	struct arch_insn insn;
	struct err ignored;
	uint8_t code[5];

	if (guest_read(ctx->guest, at, code, sizeof(code), &ignored) < 0 ||
	    ctx->arch->decode(code, sizeof(code), at, &insn) < 0)
		return -ENOENT;
	*ret = insn.flow == ARCH_FLOW_JUMP ? insn.target : 0;
	return insn.flow == ARCH_FLOW_JUMP || insn.flow == ARCH_FLOW_RETURN ? 0 : -ENOENT;
}

/* How this kernel returns from a call of nothing (retbleed and its like made it a choice of the boot): as it does elsewhere. */
static void returns_find(struct call *c, const struct guest_sites *sites)
{
	size_t looks = 0;

	for (size_t i = 0; i < sites->n && looks < NULL_LOOKS && !c->returns_known; i++) {
		uint64_t at = sites->site[i].key, tramp;
		struct err ignored;
		struct key key;

		if (key_read(c->ctx, at, &key, &ignored) < 0 || key.func)
			continue;
		looks++;
		tramp = tramp_of(c->ctx, at);
		c->returns_known = tramp && return_look(c->ctx, tramp, &c->thunk) == 0;
	}
	c->null_jump = c->thunk ? c->thunk : symbol_addr(c->ctx, "__static_call_return");
}

static int form_failed(uint64_t at, struct err *e)
{
	return err_set_addr(e, ERR_REFUSED, ERANGE, "range", at,
			    "the kernel's form of this call cannot be told, or its target is out of reach");
}

/* In place of a call: returns the length, or negative. */
static ssize_t form_call(const struct call *c, uint64_t at, uint64_t func, uint8_t *out)
{
	if (!func)
		return c->ctx->arch->encode_nop(out, 5);
	if (func != c->ret0)
		return c->ctx->arch->encode_call(out, FORM_MAX, at, func);
	memcpy(out, xor5rax, sizeof(xor5rax));
	return sizeof(xor5rax);
}

/* In place of a jump out of the function, and in the trampoline. */
static ssize_t form_tail(const struct call *c, uint64_t at, uint64_t func, uint8_t *out)
{
	if (!func && !c->returns_known)
		return -ENOENT;
	if (func || c->thunk)
		return c->ctx->arch->encode_jump(out, FORM_MAX, at, func ? func : c->thunk);
	memcpy(out, retinsn, sizeof(retinsn));
	return sizeof(retinsn);
}

/* A conditional jump out of the function keeps its condition (0f 8x), and is the jump behind a byte. */
static ssize_t form_branch(const struct call *c, uint64_t at, uint8_t condition, uint64_t func, uint8_t *out)
{
	if (!func && (!c->returns_known || !c->null_jump))
		return -ENOENT;
	ssize_t n = c->ctx->arch->encode_jump(out + 1, FORM_MAX - 1, at + 1, func ? func : c->null_jump);
	out[0] = 0x0f;
	out[1] = condition;
	return n < 0 ? n : n + 1;
}

static ssize_t form(const struct call *c, const struct guest_site *site, const uint8_t *now, uint64_t func,
		    uint8_t *out)
{
	if (!site->tail)
		return form_call(c, site->at, func, out);
	if (now[0] == 0x0f && (now[1] & 0xf0) == 0x80)
		return form_branch(c, site->at, now[1], func, out);
	return form_tail(c, site->at, func, out);
}

static int site_want(const struct call *c, const struct guest_site *site, uint64_t from, uint64_t to,
		     struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = site->at, .has_expected = true, .module = site->module };
	uint8_t now[FORM_MAX];

	if (!site->module && !guest_is_text(c->ctx->guest, site->at, sizeof(now)))
		return err_set_addr(e, ERR_REFUSED, EFAULT, "not-text", site->at,
				    "a call of this key is not kernel text that stays after boot");
	int r = guest_read(c->ctx->guest, site->at, now, sizeof(now), e);
	if (r < 0)
		return r;
	ssize_t old_len = form(c, site, now, from, w.expected), len = form(c, site, now, to, w.new_bytes);
	if (old_len < 0 || len != old_len)
		return form_failed(site->at, e);
	w.len = (uint8_t)len;
	/* The filling behind a RET reads as breakpoints; both forms are known and one instruction. */
	w.new_is_code = w.expected[0] != retinsn[0] && w.new_bytes[0] != retinsn[0];
	return want_list_add(out, &w, e);
}

/* With the pointer behind it: a module with calls of this key that is loaded before we write changes that. */
static int func_want(const struct call *c, const struct key *key, uint64_t to, struct want_list *out, struct err *e)
{
	const uint64_t from[] = { key->func, key->pointer }, become[] = { to, key->pointer };
	struct plan_want w = { .gva = c->key, .len = sizeof(from), .data = true, .has_expected = true };

	memcpy(w.expected, from, sizeof(from));
	memcpy(w.new_bytes, become, sizeof(become));
	return want_list_add(out, &w, e);
}

static int target_resolve(const struct call *c, const struct patchfile_site *site, uint64_t *ret, struct err *e)
{
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	uint64_t size;

	if (!symbol)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	*ret = strcmp(site->to.symbol, "ret0") == 0 ? c->ret0 : 0;
	if (strcmp(site->to.symbol, "null") == 0 || *ret)
		return 0;
	int r = kind_resolve(c->ctx, &site->to, "to", ret, e);
	if (r < 0)
		return r;
	if (guest_symbol_at(c->ctx->guest, *ret, symbol, &size) < 0 || symbol->addr != *ret)
		return err_set_addr(e, ERR_REFUSED, EINVAL, "not-entry", *ret, "'to' is not the start of a function");
	return 0;
}

static int call_check(const struct call *c, const struct key *key, const struct guest_sites *sites, struct err *e)
{
	if (!c->tramp)
		return err_set_addr(e, ERR_REFUSED, ENOENT, "not-key", c->key,
				    "0x%" PRIx64 " is not the key of a static call (" KEY_PREFIX "NAME) that has a trampoline",
				    c->key);
	if (key->pointer && !(key->pointer & GUEST_CALL_SITES) && !sites->whole)
		return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "modules", c->key,
				    "modules make this call as well, at places that are not known: %s", sites->modules_why);
	return 0;
}

static int wants_add(const struct call *c, const struct guest_sites *sites, const struct key *key, uint64_t to,
		     struct want_list *out, struct err *e)
{
	const struct guest_site tramp = { .at = c->tramp, .tail = true };
	int r = func_want(c, key, to, out, e);

	if (r >= 0)
		r = site_want(c, &tramp, key->func, to, out, e);
	for (size_t i = 0; r >= 0 && i < sites->n; i++)
		if (sites->site[i].key == c->key && !sites->site[i].init)
			r = site_want(c, &sites->site[i], key->func, to, out, e);
	return r < 0 ? r : 0;
}

static int static_call_expand(const struct kind_context *ctx, const struct patchfile_site *site,
			      const struct function *fn, uint64_t place, struct want_list *out, struct err *e)
{
	__attribute__((cleanup(guest_sites_clear))) struct guest_sites own = { 0 };
	struct call c = { .ctx = ctx,
			  .key = place,
			  .tramp = tramp_of(ctx, place),
			  .ret0 = symbol_addr(ctx, "__static_call_return0") };
	const struct guest_sites *sites = NULL;
	struct key key;
	uint64_t to;

	(void)fn;
	int r = tables_sites(ctx, GUEST_SITE_STATIC_CALL, &sites, &own, e);
	if (r >= 0)
		r = key_read(ctx, place, &key, e);
	if (r >= 0)
		r = call_check(&c, &key, sites, e);
	if (r >= 0)
		r = target_resolve(&c, site, &to, e);
	if (r < 0)
		return r;
	if (!key.func || !to)
		returns_find(&c, sites);
	return wants_add(&c, sites, &key, to, out, e);
}

const struct kind_ops kind_static_call = {
	.kind = PATCH_KIND_STATIC_CALL,
	.at_data = true,
	.prefix = KEY_PREFIX,
	.expand = static_call_expand,
};
