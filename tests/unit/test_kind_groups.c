// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kinds that need the file of the guest's kernel, against a small made-up kernel and the
 * file it came from: this file brings its own vmm/guest, one page of text that the
 * kernel has "adapted to its CPU", and pv_ops.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/kernel_file.h"
#include "vmm/guest/vmlinux.h"
#include "vmm/kind/kind.h"

#define SLIDE UINT64_C(0x1000000)
#define TEXT  (VMLINUX_LINK_BASE + SLIDE)
#define DATA  (TEXT + 0x400000)
#define PAGE  0x1000u

#define PV_LOCK	 0x280u /* of lock in pv_ops */
#define FEATURES (DATA + 0x800 + 0x40 + 8 * 4)

struct guest {
	struct guest_facts facts;
	uint8_t text[PAGE], data[PAGE];
};

static struct guest g;
static uint8_t elf[KERNEL_FILE_MAX];
static struct vmlinux *vmlinux;

/* In the order of their addresses; sizes up to the next one. */
static const struct {
	const char *name;
	uint64_t addr;
} symbols[] = {
	{ "function", TEXT },
	{ "native_queued_spin_lock_slowpath", TEXT + 0x100 },
	{ "__pv_queued_spin_lock_slowpath", TEXT + 0x140 },
	{ "__raw_callee_save___native_queued_spin_unlock", TEXT + 0x180 },
	{ "__raw_callee_save___pv_queued_spin_unlock", TEXT + 0x1c0 },
	{ "__raw_callee_save___native_vcpu_is_preempted", TEXT + 0x200 },
	{ "kvm_wait", TEXT + 0x240 },
	{ "__raw_callee_save___kvm_vcpu_is_preempted", TEXT + 0x260 },
	{ "end", TEXT + 0x280 },
	{ "pv_ops", DATA },
	{ "boot_cpu_data", DATA + 0x800 },
	{ "pv_lock_hash", DATA + 0xf00 },
};

const struct guest_facts *guest_facts(const struct guest *guest)
{
	return &guest->facts;
}

static uint8_t *at(uint64_t gva, size_t len)
{
	if (gva >= TEXT && gva - TEXT <= PAGE - len)
		return g.text + (gva - TEXT);
	return gva >= DATA && gva - DATA <= PAGE - len ? g.data + (gva - DATA) : NULL;
}

int guest_translate(struct guest *guest, uint64_t gva, uint64_t *ret_gpa, uint64_t *ret_len, struct err *e)
{
	(void)guest;
	(void)e;
	*ret_gpa = gva - TEXT;
	*ret_len = PAGE - (gva & (PAGE - 1));
	return 0;
}

int guest_read(struct guest *guest, uint64_t gva, void *buf, size_t len, struct err *e)
{
	const uint8_t *from = at(gva, len);

	(void)guest;
	if (!from)
		return err_set_addr(e, ERR_FAILED, EFAULT, "", gva, "not mapped");
	memcpy(buf, from, len);
	return 0;
}

int guest_symbol_find(const struct guest *guest, const char *name, uint64_t *ret_addr, char *ret_type, size_t *ret_count)
{
	(void)guest;
	(void)ret_count;
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
		if (strcmp(symbols[i].name, name) == 0) {
			*ret_addr = symbols[i].addr;
			if (ret_type)
				*ret_type = symbols[i].addr < DATA ? 't' : 'd';
			return 0;
		}
	return -ENOENT;
}

int guest_symbol_next(const struct guest *guest, struct guest_symbol_cursor *c, struct guest_symbol *ret)
{
	(void)guest;
	(void)c;
	(void)ret;
	return 0;
}

int guest_symbol_at(const struct guest *guest, uint64_t addr, struct guest_symbol *ret, uint64_t *ret_size)
{
	size_t i = 0;

	(void)guest;
	while (i + 1 < ARRAY_SIZE(symbols) && symbols[i + 1].addr <= addr)
		i++;
	*ret = (struct guest_symbol){ .addr = symbols[i].addr, .type = 't' };
	snprintf(ret->name, sizeof(ret->name), "%s", symbols[i].name);
	*ret_size = i + 1 < ARRAY_SIZE(symbols) ? symbols[i + 1].addr - symbols[i].addr : 0x400;
	return 0;
}

void guest_format_addr(const struct guest *guest, uint64_t addr, char *buf, size_t cap)
{
	(void)guest;
	snprintf(buf, cap, "0x%llx", (unsigned long long)addr);
}

bool guest_is_text(const struct guest *guest, uint64_t gva, size_t len)
{
	(void)guest;
	return gva >= TEXT && len <= 0x280 && gva - TEXT <= 0x280 - len;
}

int guest_member_offsets(struct guest *guest, struct guest_member *wants, size_t n, struct err *e)
{
	static const struct guest_member known[] = {
		{ "paravirt_patch_template", "lock", PV_LOCK }, { "pv_lock_ops", "queued_spin_lock_slowpath", 0 },
		{ "pv_lock_ops", "queued_spin_unlock", 8 },	{ "pv_lock_ops", "vcpu_is_preempted", 32 },
		{ "cpuinfo_x86", "x86_capability", 0x40 },
	};

	(void)guest;
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < ARRAY_SIZE(known) && (strcmp(known[k].type, wants[i].type) || strcmp(known[k].member, wants[i].member)))
			k++;
		if (k == ARRAY_SIZE(known))
			return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "no %s.%s", wants[i].type, wants[i].member);
		wants[i].offset = known[k].offset;
	}
	return 0;
}

/*
 * function: 0x10 call, two replacements; 0x20 NOPs or lfence; 0x30 unlock, 0x40 vcpu_is_preempted, 0x50 slow path,
 * 0x60 a call of pv_ops that is none of the group's.
 */
static void file_make(bool v68)
{
	struct kernel_file k = {
		.build_id = { 7 }, .entry_size = v68 ? 14 : 12,
		.replacement = { 0x31, 0xc0, 0x90, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xc6, 0x07, 0x00, 0x31, 0xc0, 0xe8, 0, 0, 0, 0 },
		.alternative = { { 0x10, 0, 112, 0, 5, 2 }, { 0x10, 3, 297, 0, 5, 2 }, { 0x20, 5, 99, 0, 5, 3 },
				 { 0x30, 8, 276, 1, 6, 3 }, { 0x40, 11, 277, 1, 6, 2 } },
		.n_alternatives = 5,
	};
	static const uint16_t calls[][2] = { { 0x30, PV_LOCK + 8 }, { 0x40, PV_LOCK + 32 }, { 0x50, PV_LOCK }, { 0x60, 0x10 } };

	memset(k.text, 0x90, sizeof(k.text));
	memcpy(k.text + 0x10, "\xe8\x1b\0\0", 5);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int32_t disp = (int32_t)(DATA + calls[i][1] - (TEXT + calls[i][0] + 6));

		memcpy(k.text + calls[i][0], "\xff\x15", 2);
		memcpy(k.text + calls[i][0] + 2, &disp, 4);
		if (!v68) {
			k.pv_call[i].at = calls[i][0];
			k.pv_call[i].type = (uint8_t)(calls[i][1] / 8);
			k.pv_call[i].len = 6;
			k.n_pv_calls = i + 1;
		}
	}
	if (v68) { /* only one: the list here is short, and the file is what the test is about */
		k.alternative[2] = (struct kernel_file_alternative){ 0x50, 13, 117, 2, 6, 5 };
		k.alternative[5] = (struct kernel_file_alternative){ 0x30, 13, 117, 2, 6, 5 };
		k.n_alternatives = 6;
	}
	struct err e = { 0 };
	assert_int_equal(vmlinux_from_memory(elf, kernel_file_elf(&k, elf), &vmlinux, &e), 0);
	memcpy(g.text, k.text, sizeof(k.text));
}

static void call_at(uint64_t offset, uint64_t target)
{
	int32_t rel = (int32_t)(TEXT + target - (TEXT + offset + 5));

	g.text[offset] = 0xe8;
	memcpy(g.text + offset + 1, &rel, 4);
	g.text[offset + 5] = 0x90;
}

static void pointer(uint32_t offset, uint64_t target)
{
	uint64_t v = TEXT + target;

	memcpy(g.data + offset, &v, 8);
}

/* As a guest that booted with paravirt locks, but with a native vcpu_is_preempted. */
static void booted(bool paravirt)
{
	uint32_t features = paravirt ? 1u << 20 | 1u << 3 : 1u << 3;

	call_at(0x50, paravirt ? 0x140 : 0x100);
	call_at(0x30, 0x1c0);
	if (!paravirt)
		memcpy(g.text + 0x30, "\xc6\x07\x00\x0f\x1f\x00", 6);
	memcpy(g.text + 0x40, "\x31\xc0\x0f\x1f\x40\x00", 6);
	memcpy(g.text + 0x10, "\x31\xc0\x0f\x1f\x00", 5); /* replacement 1 */
	memcpy(g.text + 0x20, "\x0f\x1f\x44\x00\x00", 5);
	pointer(PV_LOCK, paravirt ? 0x140 : 0x100);
	pointer(PV_LOCK + 8, paravirt ? 0x1c0 : 0x180);
	pointer(PV_LOCK + 32, 0x200);
	memcpy(g.data + 0x800 + 0x40 + 32, &features, 4);
	memset(g.data + 0xf00, paravirt, 8);
}

static int setup(void **state)
{
	(void)state;
	memset(&g, 0, sizeof(g));
	memset(g.text, 0x90, sizeof(g.text));
	g.facts = (struct guest_facts){ .release = "test", .base = TEXT, .text_start = TEXT, .text_end = TEXT + 0x280 };
	file_make(false);
	booted(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vmlinux_free(vmlinux);
	vmlinux = NULL;
	return 0;
}

static int expand(const struct patchfile_site *site, bool file, struct want_list *out, struct err *e)
{
	__attribute__((cleanup(kind_image_clear))) struct kind_image image = { .vmlinux = file ? vmlinux : NULL };
	const struct kind_context ctx = { .arch = &arch_x86_64, .guest = &g, .image = &image };

	*e = (struct err){ 0 };
	*out = (struct want_list){ 0 };
	return kind_expand(&ctx, site, out, e);
}

static struct patchfile_site alternative(uint64_t offset, enum patch_choice choice, unsigned number)
{
	return (struct patchfile_site){ .kind = PATCH_KIND_ALTERNATIVE, .line = 4, .choice = choice,
					.choice_number = (uint8_t)number, .at = { .offset = TEXT + offset } };
}

static void becomes(uint64_t offset, enum patch_choice choice, unsigned number, const uint8_t *bytes)
{
	struct patchfile_site site = alternative(offset, choice, number);
	struct want_list out;
	struct err e;

	if (expand(&site, true, &out, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(out.n, 1);
	assert_int_equal(out.wants[0].len, 5);
	assert_true(out.wants[0].gva == TEXT + offset);
	assert_memory_equal(out.wants[0].new_bytes, bytes, 5);
	want_list_clear(&out);
}

static void refused(struct patchfile_site site, bool file, int error, const char *rule)
{
	struct want_list out;
	struct err e;

	assert_int_equal(expand(&site, file, &out, &e), error);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_string_equal(e.rule, rule);
	assert_int_equal(out.n, 0);
	want_list_clear(&out);
}

static void test_alternative(void **state)
{
	(void)state;
	becomes(0x10, PATCH_CHOICE_ORIGINAL, 0, (const uint8_t[]){ 0xe8, 0x1b, 0, 0, 0 });
	becomes(0x10, PATCH_CHOICE_NUMBER, 2, (const uint8_t[]){ 0xf3, 0x90, 0x0f, 0x1f, 0x00 });
	becomes(0x10, PATCH_CHOICE_NUMBER, 1, g.text + 0x10); /* is there already */
	becomes(0x20, PATCH_CHOICE_REPLACEMENT, 0, (const uint8_t[]){ 0x0f, 0xae, 0xe8, 0x66, 0x90 });
	memcpy(g.text + 0x20, "\x90\x90\x90\x90\x90", 5); /* the same in other NOPs: stays */
	becomes(0x20, PATCH_CHOICE_ORIGINAL, 0, (const uint8_t[]){ 0x90, 0x90, 0x90, 0x90, 0x90 });
}

static void test_alternative_refused(void **state)
{
	(void)state;
	refused(alternative(0x10, PATCH_CHOICE_ORIGINAL, 0), false, -ENOENT, "kernel-image");
	refused(alternative(0x10, PATCH_CHOICE_REPLACEMENT, 0), true, -ENOTUNIQ, "alternative");
	refused(alternative(0x10, PATCH_CHOICE_NUMBER, 3), true, -ENOENT, "alternative");
	refused(alternative(0x18, PATCH_CHOICE_ORIGINAL, 0), true, -ENOENT, "alternative");
	refused(alternative(0x30, PATCH_CHOICE_ORIGINAL, 0), true, -EOPNOTSUPP, "alternative"); /* a group's */
	memcpy(g.text + 0x10, "\x0f\x0b\x0f\x1f\x00", 5);
	refused(alternative(0x10, PATCH_CHOICE_ORIGINAL, 0), true, -ESTALE, "old-bytes");
}

static struct patchfile_site group(enum patch_choice choice)
{
	return (struct patchfile_site){ .kind = PATCH_KIND_PV_GROUP, .line = 4, .choice = choice, .at = { .symbol = "pv_ops" } };
}

static const struct plan_want *want_at(const struct want_list *l, uint64_t gva)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->wants[i].gva == gva)
			return &l->wants[i];
	fail_msg("nothing is to change at 0x%llx", (unsigned long long)gva);
	return NULL;
}

static void check_native(const struct want_list *out)
{
	const struct plan_want *w = want_at(out, TEXT + 0x30);

	assert_int_equal(w->len, 5); /* one old instruction: the NOP behind a call is not touched */
	assert_memory_equal(w->new_bytes, "\xc6\x07\x00\x66\x90", 5);
	assert_memory_equal(w->expected, g.text + 0x30, 5);
	assert_true(w->new_is_code && w->has_expected && !w->data);
	w = want_at(out, TEXT + 0x50);
	assert_int_equal(w->len, 5);
	assert_memory_equal(w->new_bytes, "\xe8\xab\x00\x00\x00", 5); /* TEXT + 0x100 */
	w = want_at(out, DATA + PV_LOCK);
	assert_true(w->data && w->len == 8);
	assert_memory_equal(w->expected, g.data + PV_LOCK, 8);
	want_at(out, DATA + PV_LOCK + 8);
	w = want_at(out, FEATURES);
	assert_true(w->data && w->len == 4);
	assert_memory_equal(w->new_bytes, "\x08\0\0", 4);
	assert_int_equal(out->n, 5); /* what is native already is left alone, and so are other operations */
}

static void test_pv_group(void **state)
{
	struct patchfile_site site = group(PATCH_CHOICE_NATIVE);
	struct want_list out;
	struct err e;

	(void)state;
	memcpy(g.text + 0x140, "\xf3\x0f\x1e\xfa", 4);
	if (expand(&site, true, &out, &e) < 0)
		fail_msg("%s", e.text);
	check_native(&out);
	assert_int_equal(out.n_exclusions, 4); /* those that this kernel has */
	assert_true(out.exclusions[0].start == TEXT + 0x100 && out.exclusions[0].end == TEXT + 0x140);
	assert_true(out.exclusions[0].gate == TEXT + 0x100 && out.exclusions[1].gate == TEXT + 0x140 + 4); /* behind ENDBR64 */
	assert_true(out.exclusions[2].gate == 0 && out.exclusions[3].gate == 0);
	want_list_clear(&out);
	teardown(NULL);
	file_make(true);
	booted(true);
	if (expand(&site, true, &out, &e) < 0)
		fail_msg("%s", e.text);
	check_native(&out);
	want_list_clear(&out);
}

static void test_pv_group_as_it_is(void **state)
{
	struct patchfile_site site = group(PATCH_CHOICE_PARAVIRT);
	struct want_list out;
	struct err e;

	(void)state;
	assert_int_equal(expand(&site, false, &out, &e), 0);
	assert_int_equal(out.n + out.n_exclusions, 0);
	booted(false);
	refused(site, true, -EOPNOTSUPP, "pv-group");
	site.choice = PATCH_CHOICE_NATIVE;
	assert_int_equal(expand(&site, false, &out, &e), 0);
	assert_int_equal(out.n, 0);
}

static void test_pv_group_refused(void **state)
{
	struct patchfile_site site = group(PATCH_CHOICE_NATIVE);

	(void)state;
	refused(site, false, -ENOENT, "kernel-image");
	strcpy(site.at.symbol, "boot_cpu_data");
	refused(site, true, -EOPNOTSUPP, "pv-group");
	pointer(PV_LOCK, 0x300000); /* leads to nothing */
	refused(group(PATCH_CHOICE_NATIVE), true, -EOPNOTSUPP, "pv-group");
}

static struct patchfile_site targets(const char *slow, const char *unlock, const char *preempted)
{
	struct patchfile_site site = group(PATCH_CHOICE_TARGETS);

	strcpy(site.pv_target[PATCH_PV_LOCK_SLOWPATH], slow);
	strcpy(site.pv_target[PATCH_PV_UNLOCK], unlock);
	strcpy(site.pv_target[PATCH_PV_PREEMPTED], preempted);
	return site;
}

static void changes(struct patchfile_site site, size_t wants, size_t exclusions, struct want_list *out)
{
	struct err e;

	if (expand(&site, true, out, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(out->n, wants);
	assert_int_equal(out->n_exclusions, exclusions);
}

#define NATIVE_SLOW   "native_queued_spin_lock_slowpath"
#define PV_SLOW	      "__pv_queued_spin_lock_slowpath"
#define NATIVE_UNLOCK "__raw_callee_save___native_queued_spin_unlock"
#define PV_UNLOCK     "__raw_callee_save___pv_queued_spin_unlock"
#define KVM_PREEMPTED "__raw_callee_save___kvm_vcpu_is_preempted"

static void test_pv_targets(void **state)
{
	struct want_list out;

	(void)state;
	changes(targets(PV_SLOW, PV_UNLOCK, ""), 0, 0, &out); /* what it is */
	/* The slow path alone: its call and its pointer, and the unlock stays one that looks for waiters. */
	changes(targets(NATIVE_SLOW, "", ""), 2, 4, &out);
	assert_memory_equal(want_at(&out, TEXT + 0x50)->new_bytes, "\xe8\xab\x00\x00\x00", 5);
	assert_true(want_at(&out, DATA + PV_LOCK)->data);
	want_list_clear(&out);
	/* A hint: nobody is waited for. Native since boot, with a NOP that the call has to replace whole; the feature is set. */
	changes(targets("", "", KVM_PREEMPTED), 3, 0, &out);
	assert_int_equal(want_at(&out, TEXT + 0x40)->len, 6);
	assert_memory_equal(want_at(&out, TEXT + 0x40)->new_bytes, "\xe8\x1b\x02\x00\x00\x90", 6); /* TEXT + 0x260 */
	assert_memory_equal(want_at(&out, TEXT + 0x40)->expected, "\x31\xc0\x0f\x1f\x40\x00", 6);
	assert_memory_equal(want_at(&out, FEATURES)->new_bytes, "\x08\x00\x30", 4);
	want_list_clear(&out);
}

static void test_pv_targets_refused(void **state)
{
	(void)state;
	refused(targets("", NATIVE_UNLOCK, ""), true, -EOPNOTSUPP, "pv-group"); /* would wake nobody */
	refused(targets("no_queued_spin_lock_slowpath", "", ""), true, -ENOENT, "pv-group");
	refused(targets("function", "", ""), true, -EINVAL, "pv-group");
	refused(targets(PV_UNLOCK, "", ""), true, -EINVAL, "pv-group");
	refused(targets("", PV_SLOW, ""), true, -EINVAL, "pv-group");
	refused(targets("", "", PV_UNLOCK), true, -EINVAL, "pv-group");
	refused(targets("pv_ops", "", ""), true, -EINVAL, "pv-group");
	booted(false);
	refused(targets(PV_SLOW, PV_UNLOCK, ""), true, -EOPNOTSUPP, "pv-group"); /* no table of waiters */
	refused(targets(PV_SLOW, "", ""), true, -EOPNOTSUPP, "pv-group");
}

/*
 * The slow path alone was made native. Whatever changed the unlock now would be there still when that is reverted, which asks
 * nobody: waiters would halt again, and nobody wake them.
 */
static void test_pv_targets_by_halves(void **state)
{
	struct want_list out;

	(void)state;
	call_at(0x50, 0x100);
	pointer(PV_LOCK, 0x100);
	refused(targets("", NATIVE_UNLOCK, ""), true, -EOPNOTSUPP, "pv-group");
	refused(group(PATCH_CHOICE_NATIVE), true, -EOPNOTSUPP, "pv-group");
	refused(targets(PV_SLOW, "", ""), true, -EOPNOTSUPP, "pv-group");
	changes(targets(NATIVE_SLOW, PV_UNLOCK, ""), 0, 0, &out); /* what it is */
	changes(targets("", "", KVM_PREEMPTED), 3, 0, &out);
	want_list_clear(&out);
}

#define ON(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(test_alternative), ON(test_alternative_refused), ON(test_pv_group), ON(test_pv_group_as_it_is),
		ON(test_pv_group_refused), ON(test_pv_targets), ON(test_pv_targets_refused),
		ON(test_pv_targets_by_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
