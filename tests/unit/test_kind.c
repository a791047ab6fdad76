// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Patch kinds against a small made-up kernel: this file brings its own
 * vmm/guest (two pages of text that are not neighbours in physical memory, a
 * symbol table, the guest's own tables), so that every byte is under control.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/elf_object.h"
#include "vmm/kind/kind.h"
#include "vmm/payload/payload.h"

#define TEXT	    0xffffffff81000000u
#define TEXT_SIZE   0x12000u
#define DATA	    (TEXT + 0x200000u)
#define SYMBOLS_MAX 64

struct guest {
	struct guest_facts facts;
	uint8_t text[TEXT_SIZE];
	uint8_t data[0x1000];
	struct guest_symbol symbols[SYMBOLS_MAX]; /* sorted by address */
	size_t n_symbols;
	bool fail_reads;
};

static struct guest g;

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

#define PAD "0f1f440000"

static int setup(void **state)
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

static void table(const char *start, const char *stop, size_t offset, size_t size)
{
	g.symbols[g.n_symbols] = (struct guest_symbol){ .addr = DATA + offset, .type = 'R' };
	snprintf(g.symbols[g.n_symbols++].name, 64, "%s", start);
	g.symbols[g.n_symbols] = (struct guest_symbol){ .addr = DATA + offset + size, .type = 'R' };
	snprintf(g.symbols[g.n_symbols++].name, 64, "%s", stop);
}

static void table_entry(size_t offset, uint64_t target)
{
	uint32_t distance = (uint32_t)(target - (DATA + offset));

	memcpy(g.data + offset, &distance, sizeof(distance));
}

static struct patchfile_site site_of(enum patch_kind kind, const char *at)
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

/* Exactly one want, as the kinds of one place have it. */
static int expand_one(const struct kind_context *ctx, const struct patchfile_site *s, struct plan_want *ret,
		      struct err *e)
{
	__attribute__((cleanup(want_list_clear))) struct want_list list = { 0 };
	int r = kind_expand(ctx, s, &list, e);

	assert_int_equal(list.n, r < 0 ? 0 : 1);
	if (r == 0)
		*ret = list.wants[0];
	return r;
}

static struct kind_context context = { .arch = &arch_x86_64, .guest = &g };

static struct plan_want expands(const struct patchfile_site *s, uint64_t gva, size_t len, const char *new_hex)
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

/* And goes through plan_build(). */
static struct poke_plan *plans(const struct plan_want *w)
{
	struct poke_plan *p = NULL;
	struct err e = { 0 };

	if (plan_build(&arch_x86_64, 0, w, 1, &p, &e) < 0)
		fail_msg("refused: %s", e.text);
	return p;
}

static void refuses(const struct patchfile_site *s, int error, const char *rule, const char *sentence)
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

static void returns(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_RETURN, "padded");

	(void)state;
	s.value = 4242;
	struct plan_want w = expands(&s, TEXT + 0x105, 9, "b892100000 c3 0f1f00"); /* push, mov, push, sub: 1+3+1+4 */
	_cleanup_(plan_free) struct poke_plan *p = plans(&w);
	assert_true(p->needs_quiescence);
	s.value = -1;
	w = expands(&s, TEXT + 0x105, 9, "48c7c0ffffffff c3 90");
	assert_int_equal(w.split, 9);

	s = site_of(PATCH_KIND_RETURN, "with_endbr");
	expands(&s, TEXT + 0x149, 9, "b800000000 c3 0f1f00");
	s = site_of(PATCH_KIND_RETURN, "sealed_endbr");
	expands(&s, TEXT + 0x589, 9, "b800000000 c3 0f1f00");
	s = site_of(PATCH_KIND_RETURN, "bare");
	expands(&s, TEXT + 0x180, 6, "b800000000 c3");
	s = site_of(PATCH_KIND_RETURN, "calls_first"); /* its own call is no tracer's */
	expands(&s, TEXT + 0x280, 6, "b800000000 c3");
	s = site_of(PATCH_KIND_RETURN, "thunks"); /* int3 behind a jump out of the function is no kprobe */
	expands(&s, TEXT + 0x505, 6, "b800000000 c3");
	s = site_of(PATCH_KIND_RETURN, "short_jump"); /* nor are three */
	expands(&s, TEXT + 0x5c5, 6, "b800000000 c3");
	s = site_of(PATCH_KIND_RETURN, "mitigated"); /* returns as the function itself does */
	expands(&s, TEXT + 0x645, 11, "b800000000 e9310a0000 90");
	s = site_of(PATCH_KIND_RETURN, "0xffffffff81000100");
	expands(&s, TEXT + 0x105, 9, "b800000000 c3 0f1f00");
}

static void return_refusals(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_RETURN, "padded+0x5");

	(void)state;
	refuses(&s, EINVAL, "not-entry", "padded");
	s = site_of(PATCH_KIND_RETURN, "tiny");
	refuses(&s, ENOSPC, "too-short", "tiny");
	s = site_of(PATCH_KIND_RETURN, "traced");
	refuses(&s, EBUSY, "traced", "ftrace");
	s = site_of(PATCH_KIND_RETURN, "tramp_traced");
	refuses(&s, EBUSY, "traced", "ftrace");
	s = site_of(PATCH_KIND_RETURN, "probed");
	refuses(&s, EBUSY, "kprobe", "kprobe");
	s = site_of(PATCH_KIND_RETURN, "probed_later"); /* behind a jump within the function it is not */
	refuses(&s, EBUSY, "kprobe", "hide a jump");
	s = site_of(PATCH_KIND_RETURN, "loops");
	refuses(&s, EBUSY, "jump-into", "loops+0xd");
	s = site_of(PATCH_KIND_RETURN, "has_cold");
	refuses(&s, EBUSY, "jump-into", "has_cold.cold");
	s = site_of(PATCH_KIND_RETURN, "broken");
	refuses(&s, EILSEQ, "decode", "broken");
	s = site_of(PATCH_KIND_RETURN, "huge");
	refuses(&s, EFBIG, "decode", "huge");
	s = site_of(PATCH_KIND_RETURN, "nonexistent");
	refuses(&s, ENOENT, "unknown-symbol", "unknown symbol 'nonexistent' in 6.1.0-test");
	s = site_of(PATCH_KIND_RETURN, "static");
	refuses(&s, ENOTUNIQ, "ambiguous-symbol", "2 addresses");
	s = site_of(PATCH_KIND_RETURN, "padded+0x200");
	refuses(&s, ENOENT, "unknown-symbol", "beyond");
	s = site_of(PATCH_KIND_RETURN, "some_data");
	refuses(&s, EFAULT, "not-text", "text");
	s = site_of(PATCH_KIND_RETURN, "0xffffffff80000000");
	refuses(&s, EFAULT, "not-text", "text");
}

static void jumps(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_JUMP, "padded");

	(void)state;
	s.to = site_of(PATCH_KIND_JUMP, "bare").at;
	struct plan_want w = expands(&s, TEXT + 0x100, 5, "e97b000000");
	_cleanup_(plan_free) struct poke_plan *p = plans(&w);
	assert_false(p->needs_quiescence); /* the pad is one instruction */

	s = site_of(PATCH_KIND_JUMP, "with_endbr");
	s.to.offset = TEXT + 0x100; /* absolute */
	expands(&s, TEXT + 0x144, 5, "e9b7ffffff");
	s = site_of(PATCH_KIND_JUMP, "bare");
	s.to = site_of(PATCH_KIND_JUMP, "padded").at;
	w = expands(&s, TEXT + 0x180, 6, "e97bffffff 90");
	_cleanup_(plan_free) struct poke_plan *q = plans(&w);
	assert_true(q->needs_quiescence);
	s = site_of(PATCH_KIND_JUMP, "tiny"); /* the pad is enough */
	s.to = site_of(PATCH_KIND_JUMP, "padded").at;
	expands(&s, TEXT + 0x1c0, 5, "e93bffffff");
}

static void jump_refusals(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_JUMP, "padded");

	(void)state;
	s.to = s.at;
	refuses(&s, ELOOP, "not-entry", "itself");
	s.to = site_of(PATCH_KIND_JUMP, "bare+0x1").at;
	refuses(&s, EINVAL, "not-entry", "'to'");
	s.to = site_of(PATCH_KIND_JUMP, "some_data").at;
	refuses(&s, EFAULT, "not-text", "'to'");
	s.to = site_of(PATCH_KIND_JUMP, "nowhere").at;
	refuses(&s, ENOENT, "unknown-symbol", "'nowhere'");
	s = site_of(PATCH_KIND_JUMP, "traced");
	s.to = site_of(PATCH_KIND_JUMP, "bare").at;
	refuses(&s, EBUSY, "traced", "traced");
	s = site_of(PATCH_KIND_JUMP, "padded+0x5");
	s.to = site_of(PATCH_KIND_JUMP, "bare").at;
	refuses(&s, EINVAL, "not-entry", "padded");
}

/* An object with "other" and, 16 bytes on, "fixed"; it is to be 0x1000 behind the text. */
static void detours(void **state)
{
	static const uint8_t code[17] = { 0xc3, [1 ... 15] = 0x90, 0xc3 };
	static struct elf_object o;
	const char *wanted = "fixed";
	struct payload *p = NULL;
	struct err e = { 0 };
	struct patchfile_site s = site_of(PATCH_KIND_FUNCTION, "padded");

	(void)state;
	elf_object_begin(&o);
	size_t text = elf_object_section(&o, ".text", SHF_ALLOC | SHF_EXECINSTR, code, sizeof(code));
	elf_object_symbol(&o, "other", STT_FUNC, text, 0);
	elf_object_symbol(&o, "fixed", STT_FUNC, text, 16);
	elf_object_end(&o);
	assert_int_equal(payload_open(o.bytes, o.len, "f.o", &wanted, 1, &p, &e), 0);
	s.to = site_of(PATCH_KIND_FUNCTION, "fixed").at;
	refuses(&s, ENOENT, "payload-function", "'fixed'"); /* without an object */
	context.payload = p;
	context.payload_base = TEXT + 0x13000;
	expands(&s, TEXT + 0x100, 5, "e90b2f0100");
	context.payload_base = TEXT + 0x90000000;
	refuses(&s, ERANGE, "range", "2 GiB");
	s.to = site_of(PATCH_KIND_FUNCTION, "other").at;
	refuses(&s, ENOENT, "payload-function", "'other'"); /* which nobody asked the object for */
	context.payload = NULL;
	payload_free(p);
}

static struct patchfile_site bytes_site(const char *at, const char *old_hex, const char *new_hex)
{
	struct patchfile_site s = site_of(PATCH_KIND_BYTES, at);

	s.old_len = (uint8_t)hex_decode(old_hex, s.old_bytes, sizeof(s.old_bytes));
	s.new_len = (uint8_t)hex_decode(new_hex, s.new_bytes, sizeof(s.new_bytes));
	return s;
}

static void bytes(void **state)
{
	struct patchfile_site s = bytes_site("padded", PAD, "e900000000");
	struct poke_plan *p = NULL;
	struct err e = { 0 };

	(void)state;
	struct plan_want w = expands(&s, TEXT + 0x100, 5, "e900000000");
	assert_true(w.has_expected);
	plan_free(plans(&w));

	s = bytes_site("padded+0x6", "4889e5 53", "4889e5 90");
	w = expands(&s, TEXT + 0x106, 4, "4889e5 90");
	plan_free(plans(&w));

	s = bytes_site("edge+0xa", "48c7c302000000", "48c7c303000000");
	w = expands(&s, TEXT + 0xffa, 7, "48c7c303000000");
	assert_int_equal(w.split, 6);
	assert_true(w.gpa_rest == 0x1000000); /* page 1 lies where page 0 would */
	plan_free(plans(&w));

	/* A wrong guess at the old bytes is told as that, even where no instruction begins. */
	s = bytes_site("padded+0x7", "1234", "9090");
	w = expands(&s, TEXT + 0x107, 2, "9090");
	assert_int_equal(plan_build(&arch_x86_64, 0, &w, 1, &p, &e), -ESTALE);
	assert_string_equal(e.rule, "old-bytes");

	/* A loop may go on to the start of a new instruction, not into one. */
	s = bytes_site("loops+0x5", "55 ffc0 4889c1", "90 ffc1 4889c8");
	expands(&s, TEXT + 0x305, 6, "90 ffc1 4889c8");
	s = bytes_site("loops+0x5", "55 ffc0 4889c1", "b801000000 90");
	refuses(&s, EBUSY, "jump-into", "loops+0xd");
	s = bytes_site("loops+0x5", "55 ffc0 4889c1 ffc9 75f7", "48b80100000000000000"); /* the loop goes as a whole */
	expands(&s, TEXT + 0x305, 10, "48b80100000000000000");

	/* int3 after a return is padding, not a kprobe. */
	s = bytes_site("sls+0xb", "4889e5", "4889c5");
	expands(&s, TEXT + 0x4cb, 3, "4889c5");
}

static void bytes_refusals(void **state)
{
	struct patchfile_site s = bytes_site("padded+0x7", "89e5", "9090");
	struct kind_context ctx = { .arch = &arch_x86_64, .guest = &g };
	struct plan_want w;
	struct err e = { 0 };

	(void)state;
	refuses(&s, EINVAL, "mid-instruction", "middle");
	s = bytes_site("probed+0x9", "53", "90"); /* behind the kprobe nothing is sure */
	refuses(&s, EBUSY, "kprobe", "probed+0x6");
	s = bytes_site("broken+0x8", "4889e5", "4889c5");
	refuses(&s, EILSEQ, "decode", "broken+0x6");
	s = bytes_site("padded", PAD, "90");
	assert_int_equal(expand_one(&ctx, &s, &w, &e), -EINVAL);
	s = bytes_site("after_huge+0x5", "31c0", "31db");
	expands(&s, TEXT + 0x11205, 2, "31db");
	g.fail_reads = true;
	assert_int_equal(expand_one(&ctx, &s, &w, &e), -EFAULT);
}

static void nops(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_NOP, "calls_first");

	(void)state;
	struct plan_want w = expands(&s, TEXT + 0x280, 5, PAD);
	assert_false(w.has_expected);
	s.old_len = 5;
	memcpy(s.old_bytes, "\xe8\x7b\xfe\xff\xff", 5);
	w = expands(&s, TEXT + 0x280, 5, PAD);
	assert_true(w.has_expected);
	plan_free(plans(&w));
	s = site_of(PATCH_KIND_NOP, "has_cold+0xe");
	expands(&s, TEXT + 0x3ce, 6, "660f1f440000");
}

static void nop_refusals(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_NOP, "padded+0x7");

	(void)state;
	refuses(&s, EINVAL, "mid-instruction", "padded+0x9");
	s = site_of(PATCH_KIND_NOP, "probed+0x6");
	refuses(&s, EBUSY, "kprobe", "kprobe");
	s = site_of(PATCH_KIND_NOP, "calls_first");
	s.old_len = 1;
	s.old_bytes[0] = 0xe8;
	refuses(&s, EINVAL, "mid-instruction", "5 bytes long");
}

/* Places the guest jumps to, or rewrites, by its own tables. */
static void guest_tables(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_RETURN, "key_site");

	(void)state;
	expands(&s, TEXT + 0x405, 8, "b800000000 c3 6690"); /* no tables in this kernel */
	table("__start___jump_table", "__stop___jump_table", 0x100, 32);
	table("__start_static_call_sites", "__stop_static_call_sites", 0x200, 16);
	table("__start___ex_table", "__stop___ex_table", 0x300, 24);
	for (size_t i = 0; i < 0x400; i += 4)
		table_entry(i, TEXT);
	expands(&s, TEXT + 0x405, 8, "b800000000 c3 6690");
	table_entry(0x110, TEXT + 0x405);
	refuses(&s, EBUSY, "self-patched", "static branch");
	table_entry(0x110, TEXT);
	table_entry(0x208, TEXT + 0x40a);
	refuses(&s, EBUSY, "self-patched", "static call");

	s = site_of(PATCH_KIND_RETURN, "fixup");
	expands(&s, TEXT + 0x445, 7, "b800000000 c3 90");
	table_entry(0x30c + 4, TEXT + 0x446);
	refuses(&s, EBUSY, "jump-into", "exception fixup");
	table_entry(0x30c + 4, TEXT + 0x445); /* to the start: gets the patch, as callers do */
	expands(&s, TEXT + 0x445, 7, "b800000000 c3 90");
	table_entry(0x100 + 4, TEXT + 0x449);
	refuses(&s, EBUSY, "jump-into", "static branch");
}

static void hostile_tables(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_RETURN, "padded");

	(void)state;
	table("__start___jump_table", "__stop___jump_table", 0x100, 1u << 28);
	refuses(&s, EBADMSG, "self-patched", "cannot be trusted");
	g.n_symbols -= 2;
	table("__start___jump_table", "__stop___jump_table", 0x100, (size_t)-0x100);
	refuses(&s, EBADMSG, "self-patched", "cannot be trusted");
}

/* Any bytes as a function, any place in it: an answer, and a sound one. */
static void random_functions(void **state)
{
	struct kind_context ctx = { .arch = &arch_x86_64, .guest = &g };
	uint64_t seed = 12345;
	unsigned expanded = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 30000; round++) {
		static const enum patch_kind kinds[] = { PATCH_KIND_BYTES, PATCH_KIND_RETURN, PATCH_KIND_JUMP,
							 PATCH_KIND_NOP };
		struct patchfile_site s = { .kind = kinds[round % 4], .line = 3, .value = round - 15000 };
		struct plan_want w = { 0 };
		struct err e = { 0 };

		for (int i = 0; i < 64; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			g.text[0x100 + i] = (uint8_t)(seed >> 56);
		}
		s.at.offset = TEXT + 0x100 + (round % 3 ? 0 : (seed >> 40) % 60);
		s.to.offset = TEXT + 0x180;
		if (s.kind == PATCH_KIND_BYTES) {
			s.old_len = s.new_len = (uint8_t)(1 + (seed >> 33) % 12);
			memcpy(s.old_bytes, g.text + (s.at.offset - TEXT), s.old_len);
			memset(s.new_bytes, 0x90, s.new_len);
		}
		if (expand_one(&ctx, &s, &w, &e) < 0) {
			assert_true(e.kind != ERR_NONE && e.text[0] && w.len == 0);
			refused++;
			continue;
		}
		assert_true(w.len >= 1 && w.len <= POKE_SITE_LEN_MAX && w.gva >= TEXT + 0x100 &&
			    w.gva + w.len <= TEXT + 0x140 + 16);
		expanded++;
	}
	assert_true(expanded > 500 && refused > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(returns, setup),
		cmocka_unit_test_setup(return_refusals, setup),
		cmocka_unit_test_setup(jumps, setup),
		cmocka_unit_test_setup(jump_refusals, setup),
		cmocka_unit_test_setup(detours, setup),
		cmocka_unit_test_setup(bytes, setup),
		cmocka_unit_test_setup(bytes_refusals, setup),
		cmocka_unit_test_setup(nops, setup),
		cmocka_unit_test_setup(nop_refusals, setup),
		cmocka_unit_test_setup(guest_tables, setup),
		cmocka_unit_test_setup(hostile_tables, setup),
		cmocka_unit_test_setup(random_functions, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
