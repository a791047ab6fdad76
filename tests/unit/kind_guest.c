// SPDX-License-Identifier: GPL-2.0-or-later
/* See kind_guest.h: it takes the place of vmm/guest in the programs it is linked into. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/kind_guest.h"

struct guest g;

const struct guest_facts *guest_facts(const struct guest *guest)
{
	return &guest->facts;
}

int guest_translate(struct guest *guest, uint64_t gva, uint64_t *ret_gpa, uint64_t *ret_len, struct err *e)
{
	(void)guest;
	if (gva >= DATA && gva < DATA + sizeof(guest->data)) {
		*ret_gpa = 0x2000000 + (gva - DATA);
		*ret_len = 0x1000 - (gva & 0xfff);
		return 0;
	}
	if (gva < TEXT || gva >= TEXT + TEXT_SIZE)
		return err_set_addr(e, ERR_FAILED, EFAULT, "", gva, "not mapped");
	*ret_gpa = 0x1000000 + ((gva - TEXT) ^ 0x1000); /* neighbours change places */
	*ret_len = 0x1000 - (gva & 0xfff);
	return 0;
}

int guest_read(struct guest *guest, uint64_t gva, void *buf, size_t len, struct err *e)
{
	const uint8_t *from = NULL;

	if (gva >= TEXT && len <= TEXT_SIZE && gva - TEXT <= TEXT_SIZE - len)
		from = guest->text + (gva - TEXT);
	else if (gva >= DATA && len <= sizeof(guest->data) && gva - DATA <= sizeof(guest->data) - len)
		from = guest->data + (gva - DATA);
	if (!from || guest->fail_reads)
		return err_set_addr(e, ERR_FAILED, EFAULT, "", gva, "not mapped");
	memcpy(buf, from, len);
	return 0;
}

int guest_symbol_find(const struct guest *guest, const char *name, uint64_t *ret_addr, char *ret_type,
		      size_t *ret_count)
{
	size_t count = 0;

	for (size_t i = 0; i < guest->n_symbols; i++)
		if (strcmp(guest->symbols[i].name, name) == 0) {
			if (ret_addr)
				*ret_addr = guest->symbols[i].addr;
			if (ret_type)
				*ret_type = guest->symbols[i].type;
			count++;
		}
	if (ret_count)
		*ret_count = count;
	return count == 0 ? -ENOENT : count == 1 ? 0 : -ENOTUNIQ;
}

int guest_symbol_next(const struct guest *guest, struct guest_symbol_cursor *c, struct guest_symbol *ret)
{
	if (c->index >= guest->n_symbols)
		return 0;
	*ret = guest->symbols[c->index++];
	return 1;
}

int guest_symbol_at(const struct guest *guest, uint64_t addr, struct guest_symbol *ret, uint64_t *ret_size)
{
	const struct guest_symbol *best = NULL;

	*ret_size = 0;
	for (size_t i = 0; i < guest->n_symbols; i++) {
		if (guest->symbols[i].addr <= addr)
			best = &guest->symbols[i];
		else if (*ret_size == 0 && best)
			*ret_size = guest->symbols[i].addr - best->addr;
	}
	if (!best)
		return -ENOENT;
	if (*ret_size == 0)
		*ret_size = 0x100000; /* the last one: up to who knows where */
	*ret = *best;
	return 0;
}

void guest_format_addr(const struct guest *guest, uint64_t addr, char *buf, size_t cap)
{
	struct guest_symbol s;
	uint64_t size;

	if (guest_symbol_at(guest, addr, &s, &size) < 0)
		snprintf(buf, cap, "0x%llx", (unsigned long long)addr);
	else
		snprintf(buf, cap, "%.64s+0x%llx", s.name, (unsigned long long)(addr - s.addr));
}

bool guest_is_text(const struct guest *guest, uint64_t gva, size_t len)
{
	return gva >= guest->facts.text_start && len <= guest->facts.text_end - guest->facts.text_start &&
	       gva - guest->facts.text_start <= guest->facts.text_end - guest->facts.text_start - len;
}

int guest_member_offsets(struct guest *guest, struct guest_member *wants, size_t n, struct err *e)
{
	(void)guest;
	(void)wants;
	(void)n;
	return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "this kernel has none");
}

static void symbol(const char *name, uint64_t offset, char type)
{
	struct guest_symbol *s = &g.symbols[g.n_symbols++];

	assert_true(g.n_symbols <= SYMBOLS_MAX);
	*s = (struct guest_symbol){ .addr = TEXT + offset, .type = type };
	snprintf(s->name, sizeof(s->name), "%s", name);
}

/* A function and its code at an offset of the text; call in order of address. */
static void function(const char *name, uint64_t offset, const char *hex)
{
	symbol(name, offset, 't');
	assert_true(hex_decode(hex, g.text + offset, 1024) > 0);
}

int kind_guest_setup(void **state)
{
	(void)state;
	memset(&g, 0, sizeof(g));
	memset(g.text, 0xcc, sizeof(g.text));
	g.facts = (struct guest_facts){
		.release = "6.1.0-test", .base = TEXT, .text_start = TEXT, .text_end = TEXT + TEXT_SIZE
	};
	function("padded", 0x100, PAD "55 4889e5 53 4883ec10 31c0 5b 5d c3");
	function("with_endbr", 0x140, "f30f1efa" PAD "55 4889e5 53 4883ec10 31c0 5b 5d c3");
	function("bare", 0x180, "55 4889e5 4157 4156 31c0 c3");
	function("tiny", 0x1c0, PAD "31c0 c3");
	function("traced", 0x200, "e83b0e0000 55 4889e5 53 4883ec10 c3");	/* calls ftrace_caller */
	function("tramp_traced", 0x240, "e800000040 55 4889e5 53 4883ec10 c3"); /* calls outside the text */
	function("calls_first", 0x280, "e87bfeffff 55 4889e5 5d c3");		/* calls padded; no pad of its own */
	function("probed", 0x2c0, PAD "55 cc89e5 53 4883ec10 31c0 5b 5d c3");
	function("loops", 0x300, PAD "55 ffc0 4889c1 ffc9 75f7 5d c3 90909090"); /* back to offset 6 */
	function("static", 0x340, PAD "55 4889e5 31c0 c3");
	function("static", 0x380, PAD "55 4889e5 31db c3");
	function("has_cold", 0x3c0, PAD "55 4889e5 53 4883ec10 0f8425020000 31c0 c3");
	function("key_site", 0x400, PAD "0f1f440000 4889e5 53 31c0 c3"); /* a static branch right after the pad */
	function("fixup", 0x440, PAD "55 4889e5 53 31c0 c3");
	function("broken", 0x480, PAD "55 06 06 4889e5 53 31c0 c3");
	function("sls", 0x4c0, PAD "85ff 7403 c3 cc 4889e5 c3");
	function("thunks", 0x500,
		 PAD "55 4889e5 31c0 85ff 7406 e9f0000000 cc 5d c3 cccccccc 6690 c3"); /* jmp thunk; int3 */
	function("probed_later", 0x540, PAD "55 4889e5 31c0 85ff 7405 eb00 cc 90 90 5d c3");
	function("sealed_endbr", 0x580, "660f1f00" PAD "55 4889e5 53 4883ec10 31c0 5b 5d c3");
	function("short_jump", 0x5c0, PAD "55 4889e5 31c0 85ff eb03 cccccc 5d c3");
	function("has_cold.cold", 0x600, "0f0b e9bffdffff");	     /* jumps back to has_cold+6 */
	function("mitigated", 0x640, PAD "55 4889e5 53 4883ec10 31c0 5b 5d e9290a0000 cc"); /* jmp __x86_return_thunk */
	function("edge", 0xff0, PAD "b801000000 48c7c302000000 c3"); /* range crosses the page */
	function("ftrace_caller", 0x1000 + 0x40, "c3");
	function("__x86_return_thunk", 0x1000 + 0x80, "c3");
	function("huge", 0x1100, PAD "55 4889e5 31c0 c3");
	symbol("after_huge", 0x11200, 't');
	assert_true(hex_decode(PAD "31c0 4889c3 4889c1 c3", g.text + 0x11200, 64) > 0);
	g.symbols[g.n_symbols++] = (struct guest_symbol){ .addr = DATA, .type = 'd', .name = "some_data" };
	return 0;
}

void table(const char *start, const char *stop, size_t offset, size_t size)
{
	g.symbols[g.n_symbols] = (struct guest_symbol){ .addr = DATA + offset, .type = 'R' };
	snprintf(g.symbols[g.n_symbols++].name, 64, "%s", start);
	g.symbols[g.n_symbols] = (struct guest_symbol){ .addr = DATA + offset + size, .type = 'R' };
	snprintf(g.symbols[g.n_symbols++].name, 64, "%s", stop);
}

void table_entry(size_t offset, uint64_t target)
{
	uint32_t distance = (uint32_t)(target - (DATA + offset));

	memcpy(g.data + offset, &distance, sizeof(distance));
}

struct patchfile_site site_of(enum patch_kind kind, const char *at)
{
	struct patchfile_site s = { .kind = kind, .line = 3 };
	const char *plus = strchr(at, '+');
	size_t n = plus ? (size_t)(plus - at) : strlen(at);

	if (at[0] == '0') {
		s.at.offset = strtoull(at, NULL, 16);
		return s;
	}
	memcpy(s.at.symbol, at, n);
	s.at.offset = plus ? strtoull(plus + 1, NULL, 16) : 0;
	return s;
}

int expand_one(const struct kind_context *ctx, const struct patchfile_site *s, struct plan_want *ret, struct err *e)
{
	__attribute__((cleanup(want_list_clear))) struct want_list list = { 0 };
	int r = kind_expand(ctx, s, &list, e);

	assert_int_equal(list.n, r < 0 ? 0 : 1);
	if (r == 0)
		*ret = list.wants[0];
	return r;
}

struct kind_context context = { .arch = &arch_x86_64, .guest = &g };

struct plan_want expands(const struct patchfile_site *s, uint64_t gva, size_t len, const char *new_hex)
{
	struct plan_want w = { 0 };
	struct err e = { 0 };
	uint8_t bytes[POKE_SITE_LEN_MAX];
	int r = expand_one(&context, s, &w, &e);

	if (r < 0)
		fail_msg("refused: %s", e.text);
	assert_true(w.gva == gva);
	assert_int_equal(w.len, len);
	assert_true(hex_decode(new_hex, bytes, sizeof(bytes)) == (ssize_t)len);
	assert_memory_equal(w.new_bytes, bytes, len);
	assert_true(w.new_is_code);
	assert_true(w.present_len >= w.len && memcmp(w.present, g.text + (gva - TEXT), w.present_len) == 0);
	assert_int_equal(w.line, 3);
	assert_true(w.label[0] && w.split >= 1 && w.split <= w.len);
	assert_true(w.gpa == 0x1000000 + ((gva - TEXT) ^ 0x1000));
	return w;
}

struct poke_plan *plans(const struct plan_want *w)
{
	struct poke_plan *p = NULL;
	struct err e = { 0 };

	if (plan_build(&arch_x86_64, 0, w, 1, &p, &e) < 0)
		fail_msg("refused: %s", e.text);
	return p;
}

void refuses(const struct patchfile_site *s, int error, const char *rule, const char *sentence)
{
	struct plan_want w;
	struct err e = { 0 };
	int r;

	memset(&w, 0x77, sizeof(w));
	r = expand_one(&context, s, &w, &e);
	assert_int_equal(r, -error);
	assert_int_equal(w.len, 0x77); /* untouched */
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_string_equal(e.rule, rule);
	assert_non_null(strstr(e.text, "line 3"));
	if (!strstr(e.text, sentence))
		fail_msg("'%s' is not in '%s'", sentence, e.text);
}
