// SPDX-License-Identifier: GPL-2.0-or-later
/* Patch files, good and bad, each bad one with the line that its sentence must name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "protocol/patchfile.h"

#define HEAD "vmpoke: 1\nname: t\n"
#define SITE "sites:\n  - { at: f, kind: return, value: 0 }\n"

static struct patchfile *parse_good(const char *text)
{
	struct patchfile *p = NULL;
	struct err e = { 0 };

	if (patchfile_parse(text, strlen(text), "t.yaml", &p, &e) < 0)
		fail_msg("%s\n%s", e.text, text);
	return p;
}

static void test_choices(void **state)
{
	struct patchfile *p = parse_good(HEAD "sites:\n"
					 "  - { at: f+0x3, kind: alternative, choose: original }\n"
					 "  - { at: g, kind: alternative, choose: replacement }\n"
					 "  - { choose: 9, at: h, kind: alternative }\n"
					 "  - { at: pv_ops, kind: pv_group, group: lock, choose: native }\n"
					 "  - { choose: paravirt, group: lock, at: pv_ops, kind: pv_group }\n"
					 "  - { at: pv_ops, kind: pv_group, group: lock, choose: targets, queued_spin_unlock: f, vcpu_is_preempted: g }\n");
	static const enum patch_choice want[] = { PATCH_CHOICE_ORIGINAL, PATCH_CHOICE_REPLACEMENT, PATCH_CHOICE_NUMBER,
						  PATCH_CHOICE_NATIVE, PATCH_CHOICE_PARAVIRT, PATCH_CHOICE_TARGETS };

	(void)state;
	assert_int_equal(p->n_sites, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(p->sites[i].choice, want[i]);
		assert_int_equal(p->sites[i].kind, i < 3 ? PATCH_KIND_ALTERNATIVE : PATCH_KIND_PV_GROUP);
	}
	assert_int_equal(p->sites[2].choice_number, 9);
	assert_string_equal(p->sites[5].pv_target[PATCH_PV_LOCK_SLOWPATH], "");
	assert_string_equal(p->sites[5].pv_target[PATCH_PV_UNLOCK], "f");
	assert_string_equal(p->sites[5].pv_target[PATCH_PV_PREEMPTED], "g");
	patchfile_free(p);
}

static void test_full(void **state)
{
	struct patchfile *p = parse_good(
		"# comment\n"
		"vmpoke: 1\n"
		"name: getpgrp-is-4242\n"
		"description: \"getpgrp() says 4242\"\n"
		"kernel: { release: \"6.1.*\", build-id: 000102030405060708090a0b0c0d0e0f10111213 }\n"
		"sites:\n"
		"  - { at: __x64_sys_getpgrp, kind: return, value: 4242 }\n"
		"  - { at: some_symbol+0x12, kind: bytes, old: \"0f 1f 44 00 00\", new: \"e9 00 00 00 00\" }\n"
		"  - at: 0xffffffff81000000\n"
		"    kind: jump\n"
		"    to: other.cold.7\n"
		"  - at: f\n"
		"    kind: nop\n"
		"    old: 90\n");

	(void)state;
	assert_string_equal(p->name, "getpgrp-is-4242");
	assert_string_equal(p->description, "getpgrp() says 4242");
	assert_string_equal(p->release, "6.1.*");
	assert_int_equal(p->build_id_len, 20);
	assert_int_equal(p->build_id[19], 0x13);
	assert_int_equal(p->n_sites, 4);
	assert_int_equal(p->sites[0].kind, PATCH_KIND_RETURN);
	assert_int_equal(p->sites[0].line, 7);
	assert_int_equal(p->sites[0].value, 4242);
	assert_int_equal(p->sites[1].kind, PATCH_KIND_BYTES);
	assert_string_equal(p->sites[1].at.symbol, "some_symbol");
	assert_int_equal(p->sites[1].at.offset, 0x12);
	assert_int_equal(p->sites[1].old_len, 5);
	assert_memory_equal(p->sites[1].old_bytes, "\x0f\x1f\x44\0\0", 5);
	assert_memory_equal(p->sites[1].new_bytes, "\xe9\0\0\0\0", 5);
	assert_int_equal(p->sites[2].kind, PATCH_KIND_JUMP);
	assert_int_equal(p->sites[2].line, 9);
	assert_string_equal(p->sites[2].at.symbol, "");
	assert_true(p->sites[2].at.offset == 0xffffffff81000000u);
	assert_string_equal(p->sites[2].to.symbol, "other.cold.7");
	assert_int_equal(p->sites[3].kind, PATCH_KIND_NOP);
	assert_int_equal(p->sites[3].line, 12);
	assert_int_equal(p->sites[3].old_len, 1);
	patchfile_free(p);
}

static void test_function(void **state)
{
	struct patchfile *p = parse_good(HEAD "sites:\n  - { at: f, kind: function, object: dir/f.o, symbol: f_fixed }\n"
						  "  - { at: g, kind: function, object: dir/f.o, symbol: g_fixed }\n");

	(void)state;
	assert_string_equal(p->object, "dir/f.o");
	assert_int_equal(p->sites[1].kind, PATCH_KIND_FUNCTION);
	assert_string_equal(p->sites[1].at.symbol, "g");
	assert_string_equal(p->sites[1].to.symbol, "g_fixed");
	assert_string_equal(patch_kind_name(PATCH_KIND_FUNCTION), "function");
	patchfile_free(p);
	p = parse_good(HEAD SITE);
	assert_string_equal(p->object, "");
	patchfile_free(p);
}

static void test_good(void **state)
{
	static const char *const texts[] = {
		HEAD SITE,
		"---\n" HEAD SITE,
		"---\n" HEAD SITE "...\n",
		"{ vmpoke: 1, name: t, sites: [ { at: f, kind: nop } ] }",
		"%YAML 1.1\n---\n" HEAD SITE,
		"vmpoke: '1'\nname: \"t\"\n" SITE,
		"\"vmpoke\": 1\r\nname: t\r\nsites: [{at: f, kind: nop}]\r\n",
		HEAD "kernel: { build-id: \"00010203 04050607\" }\n" SITE,
		HEAD "description: caf\xc3\xa9 \xe2\x82\xac\n" SITE,
		HEAD "description: \"\"\n" SITE,
		HEAD "sites:\n- { at: f, kind: return, value: -2147483648 }\n- { at: g, kind: return, value: 4294967295 }\n",
		HEAD "sites:\n- { at: f+0x5, kind: immediate, value: 0xffffffffffffffff }\n- { at: g, kind: immediate, value: -9223372036854775808 }\n",
		HEAD "sites:\n- { at: k, kind: static_key, enable: true }\n- { at: __SCK__c, kind: static_call, to: null }\n",
		HEAD "sites:\n- { at: f, kind: return, value: 0xFFFFFFFF }\n- { at: g, kind: return, value: -0x80000000 }\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		patchfile_free(parse_good(texts[i]));
}

#define TWO "sites:\n  - { at: f, kind: nop }\n  - { at: g, kind: nop }\n"

/* A file of several sites is a group unless it says otherwise. */
static void test_atomic(void **state)
{
	static const struct {
		const char *text;
		bool atomic;
	} cases[] = {
		{ HEAD SITE, false },
		{ HEAD TWO, true },
		{ HEAD "atomic: true\n" SITE, true },
		{ HEAD "atomic: false\n" TWO, false },
		{ HEAD TWO "atomic: false\n", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct patchfile *p = parse_good(cases[i].text);

		assert_int_equal(p->atomic, cases[i].atomic);
		patchfile_free(p);
	}
}

static void test_exclude(void **state)
{
	struct patchfile *p = parse_good(HEAD "exclude:\n  - { from: f+0x10, to: f+0x40 }\n"
					      "  - { to: 0xffffffff81000020, from: 0xffffffff81000000 }\n"
					      "  - { from: f, to: g }\n" SITE);

	(void)state;
	assert_int_equal(p->n_exclusions, 3);
	assert_int_equal(p->exclusions[0].line, 4);
	assert_string_equal(p->exclusions[0].from.symbol, "f");
	assert_int_equal(p->exclusions[0].from.offset, 0x10);
	assert_int_equal(p->exclusions[0].to.offset, 0x40);
	assert_true(p->exclusions[1].from.offset == 0xffffffff81000000u);
	assert_string_equal(p->exclusions[2].to.symbol, "g");
	patchfile_free(p);
}

static void test_exclude_cap(void **state)
{
	char text[4096] = HEAD SITE "exclude:\n";
	struct patchfile *p = NULL;
	struct err e;

	(void)state;
	for (int i = 0; i < PATCHFILE_EXCLUSIONS_MAX; i++)
		strcat(text, "- { from: f, to: g }\n");
	p = parse_good(text);
	assert_int_equal(p->n_exclusions, PATCHFILE_EXCLUSIONS_MAX);
	patchfile_free(p);
	strcat(text, "- { from: f, to: g }\n");
	assert_int_equal(patchfile_parse(text, strlen(text), "t", &p, &e), -EINVAL);
	assert_non_null(strstr(e.text, "more than 16"));
}

/* One site of the given text on line 4. */
#define BAD_SITE(text) HEAD "sites:\n  - " text "\n"

static const struct {
	const char *text;
	int line;
	const char *words; /* must be in the sentence */
} bad_files[] = {
	{ "", 1, "empty" },
	{ "\n# nothing\n", 1, "empty" },
	{ "hello", 1, "begins with 'vmpoke: 1'" },
	{ "- a\n", 1, "begins with 'vmpoke: 1'" },
	{ "name: t\nvmpoke: 1\n" SITE, 1, "first key must be 'vmpoke: 1'" },
	{ "{}", 1, "no 'name'" },
	{ "vmpoke: 2\nfuture: x\n", 1, "version is not known" },
	{ "vmpoke: 1.0\n", 1, "version is not known" },
	{ "vmpoke: [1]\n", 1, "version is not known" },
	{ "vmpoke: 1\n" SITE, 4, "no 'name'" },
	{ HEAD, 3, "no 'sites'" },
	{ "vmpoke: 1\nname: -t\n" SITE, 2, "name must be" },
	{ "vmpoke: 1\nname: a/b\n" SITE, 2, "name must be" },
	{ "vmpoke: 1\nname: ''\n" SITE, 2, "name must be" },
	{ "vmpoke: 1\nname: \"a\\0b\"\n" SITE, 2, "name must be" },
	{ "vmpoke: 1\nname: 0123456789012345678901234567890123456789012345678901234567890123\n" SITE, 2,
	  "1 to 63" },
	{ HEAD "name: u\n" SITE, 3, "'name' is given twice in the patch file" },
	{ HEAD "nmae: u\n" SITE, 3, "unknown key 'nmae' in the patch file; did you mean 'name'?" },
	{ HEAD "colour: u\n" SITE, 3, "unknown key 'colour' in the patch file" },
	{ HEAD "<<: { a: b }\n" SITE, 3, "unknown key '<<'" },
	{ HEAD "\"a\\eb\": 1\n" SITE, 3, "unknown key 'a?b'" },
	{ HEAD "? [a]\n: b\n" SITE, 3, "must be a plain word" },
	{ HEAD "atomic: yes\n" SITE, 3, "atomic must be true or false" },
	{ HEAD "atomic: [true]\n" SITE, 3, "atomic must be true or false" },
	{ HEAD "exclude: []\n" SITE, 3, "exclude is empty" },
	{ HEAD "exclude: f\n" SITE, 3, "must be a list" },
	{ HEAD "exclude:\n- f\n" SITE, 4, "must be a mapping" },
	{ HEAD "exclude:\n- { from: f }\n" SITE, 4, "needs 'from' and 'to'" },
	{ HEAD "exclude:\n- { from: f+0x4, to: f+0x4 }\n" SITE, 4, "must lie behind" },
	{ HEAD "exclude:\n- { from: 0x2, to: 0x1 }\n" SITE, 4, "must lie behind" },
	{ HEAD "exclude:\n- { from: f, to: g+3 }\n" SITE, 4, "'to' must be a symbol" },
	{ HEAD "exclude:\n- { from: [f], to: g }\n" SITE, 4, "'from' must be a symbol" },
	{ HEAD "exclude:\n- { from: f, to: g, why: x }\n" SITE, 4, "unknown key 'why' in an excluded range" },
	{ HEAD "exclude:\n- { from: f, from: g, to: h }\n" SITE, 4, "given twice" },
	{ HEAD "description: [a]\n" SITE, 3, "description must be" },
	{ HEAD "description: \"a\\nb\"\n" SITE, 3, "one line" },
	{ HEAD "description: \"a\\e[31m\"\n" SITE, 3, "one line" },
	{ HEAD "description: \"a\\x9b31m\"\n" SITE, 3, "one line" },
	{ HEAD "description: \"a\\u202eb\"\n" SITE, 3, "one line" },
	{ HEAD "kernel: 6.1\n" SITE, 3, "kernel must be a mapping" },
	{ HEAD "kernel: {}\n" SITE, 3, "neither release nor build-id" },
	{ HEAD "kernel: { version: x }\n" SITE, 3, "unknown key 'version' in kernel" },
	{ HEAD "kernel:\n  release: 6.1\n  build_id: x\n" SITE, 5, "did you mean 'build-id'?" },
	{ HEAD "kernel:\n  release: 6.1\n  build-id: x\n" SITE, 5, "build-id must be" },
	{ HEAD "kernel: { build-id: 00010203040506 }\n" SITE, 3, "build-id must be" },
	{ HEAD "kernel: { release: \"\" }\n" SITE, 3, "release must be" },
	{ HEAD "kernel: { release: \"6.1 x\" }\n" SITE, 3, "release must be" },
	{ HEAD "sites: x\n", 3, "sites must be a list" },
	{ HEAD "sites: {}\n", 3, "sites must be a list" },
	{ HEAD "sites: []\n", 3, "sites is empty" },
	{ BAD_SITE("f"), 4, "a site must be a mapping" },
	{ BAD_SITE("[f]"), 4, "a site must be a mapping" },
	{ BAD_SITE("{}"), 4, "no 'kind'" },
	{ BAD_SITE("{ at: f }"), 4, "no 'kind'" },
	{ BAD_SITE("{ kind: nop }"), 4, "needs 'at'" },
	{ BAD_SITE("{ at: f, kind: nopp }"), 4, "kind must be" },
	{ BAD_SITE("{ at: f, kind: [nop] }"), 4, "'kind' must be one plain value" },
	{ BAD_SITE("at: f\n    kind: return\n    vlaue: 3"), 6, "unknown key 'vlaue' in a site; did you mean 'value'?" },
	{ BAD_SITE("at: f\n    kind: return"), 4, "needs 'value'" },
	{ BAD_SITE("at: f\n    kind: return\n    value: 3\n    at: g"), 7, "'at' is given twice in a site" },
	{ BAD_SITE("{ at: f, kind: return, value: 3, old: 90 }"), 4, "has no 'old'" },
	{ BAD_SITE("{ at: f, kind: nop, value: 3 }"), 4, "has no 'value'" },
	{ BAD_SITE("{ at: f, kind: jump }"), 4, "needs 'to'" },
	{ BAD_SITE("{ at: f, kind: alternative }"), 4, "needs 'choose'" },
	{ BAD_SITE("{ at: f, kind: alternative, choose: 0 }"), 4, "choose must be original, replacement or its number" },
	{ BAD_SITE("{ at: f, kind: alternative, choose: 10 }"), 4, "choose must be" },
	{ BAD_SITE("{ at: f, kind: alternative, choose: native }"), 4, "of an alternative choose original" },
	{ BAD_SITE("{ at: f, kind: alternative, choose: 1, group: lock }"), 4, "has no 'group'" },
	{ BAD_SITE("{ at: pv_ops, kind: pv_group, choose: native }"), 4, "needs 'group'" },
	{ BAD_SITE("{ at: pv_ops, kind: pv_group, group: mmu, choose: native }"), 4, "group must be lock" },
	{ BAD_SITE("{ at: pv_ops, kind: pv_group, group: lock, choose: original }"), 4, "of a pv_group choose native" },
	{ BAD_SITE("{ at: pv_ops, kind: pv_group, group: lock, choose: targets }"), 4, "named with 'choose: targets'" },
	{ BAD_SITE("{ at: pv_ops, kind: pv_group, group: lock, choose: native, queued_spin_unlock: f }"), 4, "and only then" },
	{ BAD_SITE("{ at: pv_ops, kind: pv_group, group: lock, choose: targets, queued_spin_unlock: f+0x1 }"), 4, "'queued_spin_unlock' must be the name" },
	{ BAD_SITE("{ at: pv_ops, kind: pv_group, group: lock, choose: targets, vcpu_is_preempted: 0x1 }"), 4, "must be the name" },
	{ BAD_SITE("{ at: f, kind: nop, vcpu_is_preempted: g }"), 4, "has no 'vcpu_is_preempted'" },
	{ BAD_SITE("{ at: f, kind: nop, choose: original }"), 4, "has no 'choose'" },
	{ BAD_SITE("{ at: f, kind: jump, to: g+1 }"), 4, "'to' must be a symbol" },
	{ BAD_SITE("{ at: f, kind: function, object: f.o }"), 4, "needs 'symbol'" },
	{ BAD_SITE("{ at: f, kind: function, symbol: g }"), 4, "needs 'object'" },
	{ BAD_SITE("{ at: f, kind: jump, to: g, object: f.o }"), 4, "has no 'object'" },
	{ BAD_SITE("{ at: f, kind: function, object: f.o, symbol: g+0x1 }"), 4, "'symbol' must be" },
	{ BAD_SITE("{ at: f, kind: function, object: f.o, symbol: 0x1 }"), 4, "'symbol' must be" },
	{ BAD_SITE("{ at: f, kind: function, object: \"\", symbol: g }"), 4, "'object' must be" },
	{ BAD_SITE("{ at: f, kind: function, object: \"a\\tb\", symbol: g }"), 4, "'object' must be" },
	{ BAD_SITE("{ at: f, kind: function, object: f.o, symbol: g }\n  - { at: h, kind: function, object: h.o, symbol: g }"), 5, "one object" },
	{ BAD_SITE("at: f\n    kind: return\n    value: 010"), 6, "value must be a number" },
	{ BAD_SITE("at: f\n    kind: return\n    value: true"), 6, "value must be a number" },
	{ BAD_SITE("at: f\n    kind: return\n    value: 1_000"), 6, "value must be a number" },
	{ BAD_SITE("at: f\n    kind: return\n    value: 1.5"), 6, "value must be a number" },
	{ BAD_SITE("at: f\n    kind: return\n    value: 4294967296"), 6, "out of range" },
	{ BAD_SITE("at: f\n    kind: return\n    value: -2147483649"), 6, "out of range" },
	{ BAD_SITE("at: f\n    kind: return\n    value: 99999999999999999999"), 6, "value must be a number" },
	{ BAD_SITE("at: f\n    value: 4294967296\n    kind: return"), 5, "out of range" },
	{ BAD_SITE("at: f\n    kind: immediate\n    value: 18446744073709551616"), 6, "value must be a number" },
	{ BAD_SITE("at: f\n    kind: immediate\n    value: -9223372036854775809"), 6, "value must be a number" },
	{ BAD_SITE("{ at: f, kind: immediate }"), 4, "needs 'value'" },
	{ BAD_SITE("{ at: k, kind: static_key }"), 4, "needs 'enable'" },
	{ BAD_SITE("at: k\n    kind: static_key\n    enable: on"), 6, "enable must be true or false" },
	{ BAD_SITE("{ at: k, kind: static_key, enable: true, value: 1 }"), 4, "has no 'value'" },
	{ BAD_SITE("{ at: k, kind: static_call }"), 4, "needs 'to'" },
	{ BAD_SITE("{ at: k, kind: nop, enable: true }"), 4, "has no 'enable'" },
	{ BAD_SITE("{ at: \"f \", kind: nop }"), 4, "'at' must be a symbol" },
	{ BAD_SITE("{ at: f+12, kind: nop }"), 4, "'at' must be a symbol" },
	{ BAD_SITE("{ at: f-0x1, kind: nop }"), 4, "'at' must be a symbol" },
	{ BAD_SITE("{ at: f+0x80000000, kind: nop }"), 4, "'at' must be a symbol" },
	{ BAD_SITE("{ at: 12, kind: nop }"), 4, "'at' must be a symbol" },
	{ BAD_SITE("{ at: 0x11112222333344445, kind: nop }"), 4, "'at' must be a symbol" },
	{ BAD_SITE("{ at: f, kind: bytes, new: 90 }"), 4, "needs 'old'" },
	{ BAD_SITE("{ at: f, kind: bytes, old: 90 }"), 4, "needs 'new'" },
	{ BAD_SITE("{ at: f, kind: bytes, old: 9090, new: 90 }"), 4, "old has 2 bytes and new has 1" },
	{ BAD_SITE("{ at: f, kind: bytes, old: 90, new: \"90\" }"), 4, "same bytes" },
	{ BAD_SITE("at: f\n    kind: bytes\n    old: 9"), 6, "'old' must be bytes in hex" },
	{ BAD_SITE("at: f\n    kind: bytes\n    old: ''"), 6, "'old' must be bytes in hex" },
	{ BAD_SITE("at: f\n    kind: bytes\n    old: 0x90"), 6, "'old' must be bytes in hex" },
	{ BAD_SITE("at: f\n    kind: bytes\n    old: [90]"), 6, "'old' must be one plain value" },
	{ BAD_SITE("at: f\n    kind: bytes\n    old: \"" "00000000000000000000000000000000"
		   "00000000000000000000000000000000" "00000000000000000000000000000000"
		   "00000000000000000000000000000000" "00\""), 6, "more than 64 bytes" },
	{ "vmpoke: 1\nname: &x t\n" SITE, 2, "anchors and aliases" },
	{ HEAD "description: *x\n" SITE, 3, "anchors and aliases" },
	{ HEAD "sites: &s\n  - { at: f, kind: nop }\n", 3, "anchors and aliases" },
	{ HEAD "description: !!str x\n" SITE, 3, "tags" },
	{ HEAD "sites:\n  - !site { at: f, kind: nop }\n", 4, "tags" },
	{ HEAD SITE "---\n" HEAD SITE, 5, "second document" },
	{ HEAD "description: \"x\n", 4, "not valid YAML" },
	{ HEAD "\tdescription: x\n", 3, "not valid YAML" },
	{ HEAD "description: a: b\n", 3, "not valid YAML" },
	{ HEAD SITE "  }\n", 5, "not valid YAML" },
	{ HEAD "description: \xff\n", 3, "not valid YAML" },
	{ HEAD "description: a\x01\n", 3, "not valid YAML" },
	{ "\xff\xfev\0m\0", 1, "not valid YAML" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		struct patchfile *p = NULL;
		struct err e = { 0 };
		char where[32];

		snprintf(where, sizeof(where), "t.yaml:%d: ", bad_files[i].line);
		if (patchfile_parse(bad_files[i].text, strlen(bad_files[i].text), "t.yaml", &p, &e) != -EINVAL)
			fail_msg("accepted:\n%s", bad_files[i].text);
		assert_null(p);
		assert_int_equal(e.kind, ERR_USAGE);
		if (strncmp(e.text, where, strlen(where)) != 0 || !strstr(e.text, bad_files[i].words))
			fail_msg("case %zu: \"%s\" lacks \"%s%s\"", i, e.text, where, bad_files[i].words);
	}
}

static void test_length_counts(void **state)
{
	static const char text[] = HEAD SITE "garbage: [";
	struct patchfile *p = NULL;

	(void)state;
	assert_int_equal(patchfile_parse(text, strlen(HEAD SITE), "t", &p, NULL), 0);
	patchfile_free(p);
	assert_int_equal(patchfile_parse(text, strlen(text), "t", &p, NULL), -EINVAL);
	assert_int_equal(patchfile_parse("vmpoke: 1\0", 10, "t", &p, NULL), -EINVAL);
	patchfile_free(NULL);
}

static char *many_sites(int n)
{
	char *text, *at;

	at = text = malloc(64 + (size_t)n * 48);
	at += sprintf(at, HEAD "sites:\n");
	for (int i = 0; i < n; i++)
		at += sprintf(at, "- { at: f+0x%x, kind: nop }\n", i);
	return text;
}

static void test_caps(void **state)
{
	struct patchfile *p = NULL;
	struct err e;

	(void)state;
	char *text = many_sites(PATCHFILE_SITES_MAX);
	assert_int_equal(patchfile_parse(text, strlen(text), "t", &p, &e), 0);
	assert_int_equal(p->n_sites, PATCHFILE_SITES_MAX);
	assert_int_equal(p->sites[PATCHFILE_SITES_MAX - 1].line, PATCHFILE_SITES_MAX + 3);
	patchfile_free(p);
	free(text);
	p = NULL;
	text = many_sites(PATCHFILE_SITES_MAX + 1);
	assert_int_equal(patchfile_parse(text, strlen(text), "t", &p, &e), -EFBIG);
	assert_int_equal(e.error, EFBIG);
	assert_non_null(strstr(e.text, "t:4100: "));
	free(text);

	text = calloc(1, PATCHFILE_SIZE_MAX + 2);
	strcpy(text, HEAD SITE);
	memset(text + strlen(text), '\n', PATCHFILE_SIZE_MAX + 1 - strlen(text));
	assert_int_equal(patchfile_parse(text, PATCHFILE_SIZE_MAX + 1, "t", &p, &e), -EFBIG);
	assert_int_equal(patchfile_parse(text, PATCHFILE_SIZE_MAX, "t", &p, &e), 0);
	patchfile_free(p);
	free(text);
}

/* Nesting as deep as the size allows is refused at its first level. */
static void test_nesting(void **state)
{
	static const char openers[] = "[{-?";
	char *text = malloc(PATCHFILE_SIZE_MAX);
	struct patchfile *p = NULL;
	struct err e;

	(void)state;
	for (const char *c = openers; *c; c++) {
		memset(text, *c, PATCHFILE_SIZE_MAX);
		for (size_t i = 1; *c == '-' && i < PATCHFILE_SIZE_MAX; i += 2)
			text[i] = ' ';
		assert_int_equal(patchfile_parse(text, PATCHFILE_SIZE_MAX, "t", &p, &e), -EINVAL);
		assert_null(p);
	}
	free(text);
}

static void test_place(void **state)
{
	static const struct {
		const char *text, *again; /* again NULL: refused */
	} cases[] = {
		{ "f", "f" },		     { "f+0x12", "f+0x12" },	{ "f+0X1F", "f+0x1f" },	 { "f+0x0", "f" },
		{ "_a.b$c.isra.0", "_a.b$c.isra.0" },			{ "0xFFFFFFFF81000000", "0xffffffff81000000" },
		{ "0x0", "0x0" },	     { "", NULL },		{ "+0x1", NULL },	 { "f+", NULL },
		{ "f+0x", NULL },	     { "f+1", NULL },		{ "f+0x1/0x20", NULL },	 { "f + 0x1", NULL },
		{ "f+0x1+0x2", NULL },	     { "9f", NULL },		{ "0x", NULL },		 { "0x1g", NULL },
		{ "f\n", NULL },	     { "\xc3\xa9", NULL },	{ "f-0x1", NULL },	 { "0x1+0x2", NULL },
	};
	char symbol[PATCHFILE_SYMBOL_MAX + 2];
	struct patch_place p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char again[PATCHFILE_SYMBOL_MAX + 32];

		assert_int_equal(patch_place_parse(cases[i].text, &p), cases[i].again ? 0 : -EINVAL);
		if (!cases[i].again)
			continue;
		patch_place_format(&p, again, sizeof(again));
		assert_string_equal(again, cases[i].again);
	}
	memset(symbol, 's', sizeof(symbol));
	symbol[PATCHFILE_SYMBOL_MAX + 1] = '\0';
	assert_int_equal(patch_place_parse(symbol, &p), -EINVAL);
	symbol[PATCHFILE_SYMBOL_MAX] = '\0';
	assert_int_equal(patch_place_parse(symbol, &p), 0);
	assert_string_equal(p.symbol, symbol);
}

static void test_names(void **state)
{
	static const char *const good[] = { "a", "9", "web-1.example_x" };
	static const char *const bad[] = { "", ".", "..", ".a", "-a", "_a", "a b", "a/b", "a\n", "\xc3\xa9", "a*" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(patch_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(patch_name_valid(bad[i]));
	assert_string_equal(patch_kind_name(PATCH_KIND_JUMP), "jump");
	assert_string_equal(patch_kind_name((enum patch_kind)99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full), cmocka_unit_test(test_choices),	      cmocka_unit_test(test_good),  cmocka_unit_test(test_atomic),
		cmocka_unit_test(test_function),
		cmocka_unit_test(test_exclude),
		cmocka_unit_test(test_exclude_cap),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_length_counts), cmocka_unit_test(test_caps),  cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_place),	      cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
