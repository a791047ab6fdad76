// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Payload objects: what is taken of them and where it goes, each relocation to the byte,
 * and everything that has to be refused. Objects are made by hand; real compilers' are
 * in tests/e2e/function.sh.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/elf_object.h"
#include "vmm/payload/payload.h"

#define BASE	  UINT64_C(0xffffffffc0400000)
#define ALLOC	  SHF_ALLOC
#define CODE	  (SHF_ALLOC | SHF_EXECINSTR)
#define LIVEPATCH 0xff20
#define LEAD	  ((int32_t)PAYLOAD_LEAD)

static struct elf_object o;
static size_t text, f; /* section, symbol */
static uint8_t image[PAYLOAD_IMAGE_MAX];
static struct err e;

/* The guest: three names that are there, one that is there twice. */
static int names_find(struct payload_names *n, const char *name, unsigned long pos, uint64_t *ret)
{
	(void)n;
	if (strcmp(name, "near") == 0)
		*ret = BASE - 0x1000000;
	else if (strcmp(name, "far") == 0)
		*ret = BASE - 0x100000000;
	else if (strcmp(name, "twice") == 0 && pos == 2)
		*ret = BASE - 0x2000000;
	else
		return strcmp(name, "twice") == 0 ? -ENOTUNIQ : -ENOENT;
	return 0;
}
static struct payload_names names = { .find = names_find };

/* An object whose function "f" is the whole of .text. */
static void begin(const void *code, size_t len)
{
	elf_object_begin(&o);
	text = elf_object_section(&o, ".text", CODE, code, len);
	f = elf_object_symbol(&o, "f", STT_FUNC, text, 0);
}
#define BEGIN(...)                                        \
	do {                                              \
		static const uint8_t code_[] = { __VA_ARGS__ }; \
		begin(code_, sizeof(code_));              \
	} while (0)

static int open_as(const char *name, struct payload **p)
{
	e = (struct err){ 0 };
	if (!o.len)
		elf_object_end(&o);
	return payload_open(o.bytes, o.len, "f.o", &name, 1, p, &e);
}

static struct payload *opened(void)
{
	struct payload *p = NULL;

	if (open_as("f", &p) < 0)
		fail_msg("%s", e.text);
	return p;
}

static void linked(struct payload *p)
{
	if (payload_link(p, BASE, &names, image, &e) < 0)
		fail_msg("%s", e.text);
}

static void refused(const char *rule, int error, const char *words)
{
	struct payload *p = NULL;
	int r = open_as("f", &p);

	if (r == 0)
		r = payload_link(p, BASE, &names, image, &e);
	payload_free(p);
	assert_int_equal(r, -error);
	assert_string_equal(e.rule, rule);
	if (!strstr(e.text, words))
		fail_msg("'%s' does not say '%s'", e.text, words);
}

/* Of the text. */
static int32_t at32(size_t offset)
{
	int32_t v;

	memcpy(&v, image + LEAD + offset, sizeof(v));
	return v;
}

static uint64_t at64(size_t offset)
{
	uint64_t v;

	memcpy(&v, image + offset, sizeof(v));
	return v;
}

/* --- what goes where --- */

static void takes_what_is_reached(void **state)
{
	static const uint8_t load[] = { 0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3 }, other[] = { 0x90, 0xc3 };
	struct payload *p;
	size_t offset;

	(void)state;
	begin(load, sizeof(load));
	size_t ro = elf_object_section(&o, ".rodata", ALLOC, "12345678abcdefgh", 16);
	size_t unused = elf_object_section(&o, ".text.unused", CODE, other, sizeof(other));
	elf_object_symbol(&o, "g", STT_FUNC, unused, 0);
	/* Not reached, so that it does not matter. */
	elf_object_section(&o, ".data", ALLOC | SHF_WRITE, "x", 1);
	size_t c = elf_object_symbol(&o, "", STT_SECTION, ro, 0);
	elf_object_rela(&o, text, 3, R_X86_64_PC32, c, 8 - 4);
	p = opened();
	assert_int_equal(payload_text_size(p), 4096);
	assert_int_equal(payload_size(p), 8192);
	assert_int_equal(payload_function(p, "f", &offset), 0);
	assert_int_equal(offset, LEAD);
	assert_int_equal(payload_function(p, "g", &offset), -ENOENT);
	linked(p);
	assert_int_equal(at32(3), 4096 + 8 - LEAD - 7);
	assert_memory_equal(image + 4096, "12345678abcdefgh", 16);
	for (size_t i = 0; i < PAYLOAD_LEAD; i++)
		assert_int_equal(image[i], 0xcc);
	assert_int_equal(image[LEAD + sizeof(load)], 0xcc);
	assert_false(payload_shows_code(p));
	payload_free(p);
}

static void function_in_the_middle(void **state)
{
	static const uint8_t code[64] = { 0xc3, [1 ... 63] = 0x90 };
	struct payload *p = NULL;
	size_t offset;

	(void)state;
	begin(code, sizeof(code));
	elf_object_symbol(&o, "g", STT_FUNC, text, 0x20);
	assert_int_equal(open_as("g", &p), 0);
	assert_int_equal(payload_function(p, "g", &offset), 0);
	assert_int_equal(offset, LEAD + 0x20);
	payload_free(p);
}

/* --- relocations --- */

static void branches_and_addresses(void **state)
{
	/* call; mov $imm32, %rdi; movabs; ret */
	static const uint8_t code[] = { 0xe8, 0, 0, 0, 0, 0x48, 0xc7, 0xc7, 0, 0, 0, 0, 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xc3 };
	struct payload *p;

	(void)state;
	begin(code, sizeof(code));
	size_t near = elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, near, -4);
	elf_object_rela(&o, text, 8, R_X86_64_32S, near, 0x10);
	elf_object_rela(&o, text, 14, R_X86_64_64, near, 0x20);
	p = opened();
	linked(p);
	assert_int_equal(at32(1), -0x1000000 - LEAD - 5);
	assert_true((uint64_t)(int64_t)at32(8) == BASE - 0x1000000 + 0x10);
	assert_true(at64(LEAD + 14) == BASE - 0x1000000 + 0x20);
	assert_false(payload_shows_code(p));
	payload_free(p);
}

static void through_the_got(void **state)
{
	/* mov x@GOTPCREL(%rip), %rbx; call *x@GOTPCREL(%rip); jmp *x@GOTPCREL(%rip) */
	static const uint8_t code[] = { 0x48, 0x8b, 0x1d, 0, 0, 0, 0, 0xff, 0x15, 0, 0, 0, 0, 0xff, 0x25, 0, 0, 0, 0 };
	static const uint8_t call[] = { 0x67, 0xe8 };
	struct payload *p;

	(void)state;
	begin(code, sizeof(code));
	size_t near = elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0);
	elf_object_rela(&o, text, 3, R_X86_64_REX_GOTPCRELX, near, -4);
	elf_object_rela(&o, text, 9, R_X86_64_GOTPCRELX, near, -4);
	elf_object_rela(&o, text, 15, R_X86_64_GOTPCRELX, near, -4);
	p = opened();
	linked(p);
	assert_int_equal(image[LEAD + 1], 0x8d);
	assert_int_equal(at32(3), -0x1000000 - LEAD - 7);
	assert_memory_equal(image + LEAD + 7, call, 2);
	assert_int_equal(at32(9), -0x1000000 - LEAD - 13);
	assert_int_equal(image[LEAD + 13], 0xe9);
	assert_int_equal(at32(14), -0x1000000 - LEAD - 18);
	assert_int_equal(image[LEAD + 18], 0x90);
	payload_free(p);
}

static void livepatch_symbols(void **state)
{
	struct payload *p;

	(void)state;
	BEGIN(0xe8, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0xc3);
	size_t second = elf_object_symbol(&o, ".klp.sym.vmlinux.twice,2", STT_NOTYPE, LIVEPATCH, 0);
	size_t only = elf_object_symbol(&o, ".klp.sym.vmlinux.near,0", STT_NOTYPE, LIVEPATCH, 0);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, second, -4);
	elf_object_rela(&o, text, 6, R_X86_64_PLT32, only, -4);
	p = opened();
	linked(p);
	assert_int_equal(at32(1), -0x2000000 - LEAD - 5);
	assert_int_equal(at32(6), -0x1000000 - LEAD - 10);
	payload_free(p);
	BEGIN(0xe8, 0, 0, 0, 0, 0xc3);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, elf_object_symbol(&o, ".klp.sym.ext4.near,1", STT_NOTYPE, LIVEPATCH, 0), -4);
	refused("payload-symbol", EOPNOTSUPP, "of a module");
	BEGIN(0xe8, 0, 0, 0, 0, 0xc3);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, elf_object_symbol(&o, ".klp.sym.vmlinux.near", STT_NOTYPE, LIVEPATCH, 0), -4);
	refused("payload-symbol", EBADMSG, "POSITION");
}

static void twice_at_other_bases(void **state)
{
	struct payload *p;

	(void)state;
	BEGIN(0xe8, 0, 0, 0, 0, 0xc3);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0), -4);
	p = opened();
	assert_int_equal(payload_link(p, BASE + 0x1000, &names, image, &e), 0);
	assert_int_equal(at32(1), -0x1001000 - LEAD - 5);
	linked(p);
	assert_int_equal(at32(1), -0x1000000 - LEAD - 5);
	assert_int_equal(payload_link(p, BASE + 1, &names, image, &e), -EINVAL);
	payload_free(p);
}

static void relocations_that_are_refused(void **state)
{
	(void)state;
	BEGIN(0xe8, 0, 0, 0, 0, 0xc3);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, elf_object_symbol(&o, "far", STT_NOTYPE, SHN_UNDEF, 0), -4);
	refused("payload-relocation", ERANGE, "out of reach");
	BEGIN(0xb8, 0, 0, 0, 0, 0xc3); /* mov $imm32, %eax: kernel addresses do not fit */
	elf_object_rela(&o, text, 1, R_X86_64_32, elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0), 0);
	refused("payload-relocation", ERANGE, "-mcmodel=kernel");
	BEGIN(0xb8, 0, 0, 0, 0, 0xc3);
	elf_object_rela(&o, text, 1, R_X86_64_GOTPCREL, elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0), -4);
	refused("payload-relocation", EOPNOTSUPP, "-fno-pic");
	BEGIN(0x48, 0x3b, 0x05, 0, 0, 0, 0, 0xc3); /* cmp x@GOTPCREL(%rip), %rax */
	elf_object_rela(&o, text, 3, R_X86_64_REX_GOTPCRELX, elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0), -4);
	refused("payload-relocation", EOPNOTSUPP, "GOT");
	BEGIN(0xe8, 0, 0, 0, 0, 0xc3);
	elf_object_rela(&o, text, 3, R_X86_64_PLT32, elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0), -4);
	refused("payload-object", EBADMSG, "outside of its section");
	BEGIN(0xe8, 0, 0, 0, 0, 0xc3);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, 4711, -4);
	refused("payload-object", EBADMSG, "a symbol that is not there");
}

static void symbols_that_are_refused(void **state)
{
	static const struct {
		const char *name;
		unsigned type, section;
		int error;
		const char *words;
	} cases[] = {
		{ "nowhere", STT_NOTYPE, SHN_UNDEF, ENOENT, "'nowhere' is not in the guest's kernel" },
		{ "twice", STT_NOTYPE, SHN_UNDEF, ENOTUNIQ, "several addresses" },
		{ "near", STT_GNU_IFUNC, SHN_UNDEF, EOPNOTSUPP, "IFUNC" },
		{ "near", STT_TLS, SHN_UNDEF, EOPNOTSUPP, "TLS" },
		{ "near", STT_OBJECT, SHN_COMMON, EOPNOTSUPP, "common" },
		{ "near", STT_OBJECT, SHN_ABS, EOPNOTSUPP, "absolute" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		BEGIN(0xe8, 0, 0, 0, 0, 0xc3);
		elf_object_rela(&o, text, 1, R_X86_64_PLT32,
				elf_object_symbol(&o, cases[i].name, cases[i].type, cases[i].section, 0), -4);
		refused("payload-symbol", cases[i].error, cases[i].words);
	}
}

/* --- addresses of own code that are handed out --- */

static void own_code_shown(void **state)
{
	struct payload *p;

	(void)state;
	BEGIN(0x48, 0x8d, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xc3); /* lea f(%rip), %rax, known to the assembler */
	p = opened();
	linked(p);
	assert_true(payload_shows_code(p));
	payload_free(p);

	BEGIN(0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3);
	size_t table = elf_object_section(&o, ".data.rel.ro.local", ALLOC | SHF_WRITE, "\0\0\0\0\0\0\0", 8);
	elf_object_rela(&o, text, 3, R_X86_64_PC32, elf_object_symbol(&o, "", STT_SECTION, table, 0), -4);
	elf_object_rela(&o, table, 0, R_X86_64_64, f, 0);
	p = opened();
	linked(p);
	assert_true(at64(4096) == BASE + LEAD);
	assert_true(payload_shows_code(p));
	payload_free(p);

	BEGIN(0xe8, 0, 0, 0, 0, 0xc3); /* a call of itself shows nothing */
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, f, -4);
	p = opened();
	linked(p);
	assert_false(payload_shows_code(p));
	payload_free(p);
}

/* --- sections --- */

static void needs_a_section(const char *name, uint64_t flags, const char *words)
{
	BEGIN(0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3);
	size_t s = elf_object_section(&o, name, flags, "12345678", 8);
	elf_object_rela(&o, text, 3, R_X86_64_PC32, elf_object_symbol(&o, "", STT_SECTION, s, 0), -4);
	refused("payload-section", EOPNOTSUPP, words);
}

static void names_own_text(const char *name, const char *words)
{
	BEGIN(0x0f, 0x0b, 0xc3);
	size_t s = elf_object_section(&o, name, ALLOC, "12345678", 8);
	elf_object_rela(&o, s, 0, R_X86_64_PC32, elf_object_symbol(&o, "", STT_SECTION, text, 0), 0);
	refused("payload-section", EOPNOTSUPP, words);
}

static void sections_that_are_refused(void **state)
{
	(void)state;
	needs_a_section(".data", ALLOC | SHF_WRITE, "variables");
	needs_a_section(".tbss", ALLOC | SHF_WRITE | SHF_TLS, "thread-local");
	needs_a_section(".text.w", CODE | SHF_WRITE, "variables");
	needs_a_section(".rodata.z", ALLOC | SHF_COMPRESSED, "type");
	names_own_text("__ex_table", "fault");
	names_own_text("__bug_table", "WARN");
	names_own_text(".altinstructions", "alternatives");
	names_own_text("__jump_table", "static branches");
	BEGIN(0xc3);
	elf_object_section(&o, ".init_array", ALLOC | SHF_WRITE, "12345678", 8);
	refused("payload-section", EOPNOTSUPP, "constructors");
}

/* Tables that may stay behind, and those that are about another function. */
static void sections_that_are_left_out(void **state)
{
	(void)state;
	BEGIN(0xc3);
	size_t other = elf_object_section(&o, ".text.g", CODE, "\xc3", 1);
	size_t bug = elf_object_section(&o, "__bug_table", ALLOC, "12345678", 8);
	size_t mcount = elf_object_section(&o, "__mcount_loc", ALLOC, "12345678", 8);
	elf_object_rela(&o, bug, 0, R_X86_64_PC32, elf_object_symbol(&o, "g", STT_FUNC, other, 0), 0);
	elf_object_rela(&o, mcount, 0, R_X86_64_64, f, 0);
	struct payload *p = opened();
	linked(p);
	assert_int_equal(payload_size(p), 4096);
	assert_false(payload_shows_code(p));
	payload_free(p);
}

static void sizes(void **state)
{
	static uint8_t big[12288 - LEAD];

	(void)state;
	memset(big, 0x90, sizeof(big));
	begin(big, sizeof(big));
	struct payload *p = opened();
	assert_int_equal(payload_size(p), 12288);
	payload_free(p);
	BEGIN(0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3);
	size_t s = elf_object_section(&o, ".rodata", ALLOC, NULL, PAYLOAD_IMAGE_MAX);
	elf_object_rela(&o, text, 3, R_X86_64_PC32, elf_object_symbol(&o, "", STT_SECTION, s, 0), -4);
	refused("payload-size", EFBIG, "KiB");
	BEGIN(0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3);
	s = elf_object_section(&o, ".rodata", ALLOC, NULL, SIZE_MAX);
	elf_object_rela(&o, text, 3, R_X86_64_PC32, elf_object_symbol(&o, "", STT_SECTION, s, 0), -4);
	refused("payload-size", EFBIG, "KiB");
}

/* --- code --- */

static void code_that_is_refused(void **state)
{
	(void)state;
	BEGIN(0x89, 0x7c, 0x24, 0xfc, 0xc3); /* mov %edi, -4(%rsp) */
	refused("payload-code", EOPNOTSUPP, "below the stack pointer");
	BEGIN(0x55, 0x48, 0x89, 0xe5, 0x89, 0x7d, 0xfc, 0x5d, 0xc3); /* push; mov %rsp, %rbp; mov %edi, -4(%rbp): gcc -O0 */
	refused("payload-code", EOPNOTSUPP, "-mno-red-zone");
	BEGIN(0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, 0xc3); /* mov %fs:40, %rax */
	refused("payload-code", EOPNOTSUPP, "%fs");
	BEGIN(0x0f, 0x10, 0x07, 0xc3); /* movups (%rdi), %xmm0 */
	refused("payload-code", EOPNOTSUPP, "vector");
	BEGIN(0xd9, 0xe8, 0xc3); /* fld1 */
	refused("payload-code", EOPNOTSUPP, "vector or floating-point");
	BEGIN(0x06, 0xc3);
	refused("payload-code", EOPNOTSUPP, "not instructions");
}

static void code_that_is_fine(void **state)
{
	(void)state;
	/* push; mov %rsp, %rbp; sub $16, %rsp; mov %edi, -16(%rbp); leave; ret */
	BEGIN(0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0x89, 0x7d, 0xf0, 0xc9, 0xc3);
	payload_free(opened());
	/* the same with push %rbx as what reserves the room */
	BEGIN(0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x8b, 0x5d, 0xf8, 0xc9, 0xc3);
	payload_free(opened());
	/* aligned stack: nobody knows how much there is */
	BEGIN(0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xf0, 0x89, 0x7d, 0xfc, 0xc9, 0xc3);
	payload_free(opened());
	/* %rbp as any other register; mov %gs:, the kernel's own */
	BEGIN(0x48, 0x8b, 0x45, 0xf0, 0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0xc3);
	payload_free(opened());
}

/* --- objects --- */

static void objects_that_are_none(void **state)
{
	static const char *const names_wanted[] = { "g" };
	struct payload *p = NULL;

	(void)state;
	BEGIN(0xc3);
	elf_object_end(&o);
	for (size_t len = 0; len < o.len; len++) {
		const char *name = "f";

		e = (struct err){ 0 };
		assert_int_equal(payload_open(o.bytes, len, "f.o", &name, 1, &p, &e), -EBADMSG);
		assert_int_equal(e.kind, ERR_USAGE);
	}
	assert_int_equal(payload_open(o.bytes, o.len, "f.o", names_wanted, 1, &p, &e), -ENOENT);
	assert_string_equal(e.rule, "payload-function");
	assert_int_equal(payload_open(o.bytes, o.len, "f.o", names_wanted, 0, &p, &e), -E2BIG);
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)o.bytes;
	h->e_type = ET_DYN;
	refused("payload-object", EBADMSG, "gcc -c");
	h->e_type = ET_REL;
	h->e_machine = EM_AARCH64;
	refused("payload-object", EBADMSG, "x86-64");
	h->e_machine = EM_X86_64;
	h->e_ident[EI_CLASS] = ELFCLASS32;
	refused("payload-object", EBADMSG, "64-bit");
}

/* Every byte of an object changed, in three ways: an answer, and nothing touched that is not ours (sanitizers). */
static void any_byte_changed(void **state)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xff };
	static struct elf_object good;

	(void)state;
	BEGIN(0xe8, 0, 0, 0, 0, 0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3);
	size_t ro = elf_object_section(&o, ".rodata", ALLOC, "12345678", 8);
	elf_object_rela(&o, text, 1, R_X86_64_PLT32, elf_object_symbol(&o, "near", STT_NOTYPE, SHN_UNDEF, 0), -4);
	elf_object_rela(&o, text, 8, R_X86_64_PC32, elf_object_symbol(&o, "", STT_SECTION, ro, 0), -4);
	elf_object_end(&o);
	good = o;
	for (size_t i = 0; i < 3 * o.len; i++) {
		struct payload *p = NULL;
		size_t offset;

		o.bytes[i / 3] ^= flips[i % 3];
		if (open_as("f", &p) == 0 && payload_link(p, BASE, &names, image, &e) == 0) {
			assert_int_equal(payload_function(p, "f", &offset), 0);
			assert_in_range(offset, LEAD, payload_text_size(p) - 1);
		}
		payload_free(p);
		o.bytes[i / 3] = good.bytes[i / 3];
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_is_reached),
		cmocka_unit_test(function_in_the_middle),
		cmocka_unit_test(branches_and_addresses),
		cmocka_unit_test(through_the_got),
		cmocka_unit_test(livepatch_symbols),
		cmocka_unit_test(twice_at_other_bases),
		cmocka_unit_test(relocations_that_are_refused),
		cmocka_unit_test(symbols_that_are_refused),
		cmocka_unit_test(own_code_shown),
		cmocka_unit_test(sections_that_are_refused),
		cmocka_unit_test(sections_that_are_left_out),
		cmocka_unit_test(sizes),
		cmocka_unit_test(code_that_is_refused),
		cmocka_unit_test(code_that_is_fine),
		cmocka_unit_test(objects_that_are_none),
		cmocka_unit_test(any_byte_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
