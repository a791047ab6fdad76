// SPDX-License-Identifier: GPL-2.0-or-later
/* The kinds that write code of their own, return, jump and function, against a small made-up kernel (kind_guest.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/elf_object.h"
#include "tests/unit/kind_guest.h"
#include "vmm/payload/payload.h"

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
	expands(&s, TEXT + 0x100, 5, "e91b2f0100");
	context.payload_base = TEXT + 0x90000000;
	refuses(&s, ERANGE, "range", "2 GiB");
	s.to = site_of(PATCH_KIND_FUNCTION, "other").at;
	refuses(&s, ENOENT, "payload-function", "'other'"); /* which nobody asked the object for */
	context.payload = NULL;
	payload_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(returns, kind_guest_setup),
		cmocka_unit_test_setup(return_refusals, kind_guest_setup),
		cmocka_unit_test_setup(jumps, kind_guest_setup),
		cmocka_unit_test_setup(jump_refusals, kind_guest_setup),
		cmocka_unit_test_setup(detours, kind_guest_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
