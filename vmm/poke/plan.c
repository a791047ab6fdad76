// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From what was asked for to a transaction that can be carried out as it stands:
 * sorted, free of overlap, decoded on both sides. Looks at bytes only; must never
 * read or write the guest, and must never let through a range whose old or new
 * instructions it does not know one by one.
 */
#include <errno.h>
#include <string.h>

#include "vmm/poke/plan.h"

void plan_free(struct poke_plan *p)
{
	if (!p)
		return;
	free(p->sites);
	free(p->slots);
	free(p);
}

int plan_set_slots(struct poke_plan *p, const struct poke_slot *slots, size_t n, struct err *e)
{
	struct poke_slot *copy;

	for (size_t i = 0; i < n; i++)
		if ((slots[i].gva ^ slots[i].gpa) & 4095 || (slots[i].gva & 4095) > 4096 - POKE_SLOT_LEN)
			return err_set_addr(e, ERR_FAILED, EINVAL, "", slots[i].gva, "a slot does not lie on one page");
	if (n > POKE_SLOTS_MAX)
		return err_set(e, ERR_FAILED, EINVAL, "", "%zu slots; at most %d can be used", n, POKE_SLOTS_MAX);
	copy = calloc(n ? n : 1, sizeof(*copy));
	if (!copy)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (n)
		memcpy(copy, slots, n * sizeof(*copy));
	free(p->slots);
	p->slots = copy;
	p->n_slots = n;
	return 0;
}

static int too_many(size_t n, struct err *e)
{
	return err_set(e, ERR_REFUSED, E2BIG, "sites", "%zu sites; at most %d fit one patch", n, POKE_SITES_MAX);
}

int want_list_add(struct want_list *l, const struct plan_want *w, struct err *e)
{
	if (l->n >= POKE_SITES_MAX)
		return too_many(l->n + 1, e);
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 8;
		struct plan_want *grown = reallocarray(l->wants, cap, sizeof(*grown));

		if (!grown)
			return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
		l->wants = grown;
		l->cap = cap;
	}
	l->wants[l->n++] = *w;
	return 0;
}

int want_list_exclude(struct want_list *l, const struct poke_exclusion *x, struct err *e)
{
	for (size_t i = 0; i < l->n_exclusions; i++)
		if (l->exclusions[i].start == x->start && l->exclusions[i].end == x->end)
			return 0;
	if (l->n_exclusions == POKE_EXCLUSIONS_MAX)
		return err_set(e, ERR_REFUSED, E2BIG, "sites", "more than %d excluded ranges", POKE_EXCLUSIONS_MAX);
	l->exclusions[l->n_exclusions++] = *x;
	return 0;
}

void want_list_clear(struct want_list *l)
{
	free(l->wants);
	*l = (struct want_list){ 0 };
}

static int want_refuse(const struct plan_want *w, int error, const char *rule, size_t offset, const char *sentence,
		       struct err *e)
{
	char line[32] = "";

	if (w->line > 0)
		snprintf(line, sizeof(line), "line %d: ", w->line);
	return err_set_addr(e, ERR_REFUSED, error, rule, w->gva + offset, "%s%.95s: %s", line, w->label, sentence);
}

static int want_check(const struct plan_want *w, struct err *e)
{
	if (w->len >= 1 && w->len <= POKE_SITE_LEN_MAX && w->split >= 1 && w->split <= w->len &&
	    w->present_len >= w->len && w->present_len <= sizeof(w->present) && w->gva <= UINT64_MAX - w->len)
		return 0;
	return err_set_addr(e, ERR_FAILED, EINVAL, "", w->gva,
			    "%.95s: a site of %u bytes (%u on its first page, %u read) cannot be planned", w->label,
			    w->len, w->split, w->present_len);
}

/* Half of an instruction would be changed: found before anything is written, however many sites there are. */
static int want_aligned(const struct arch_ops *arch, const struct plan_want *w, struct err *e)
{
	char sentence[96];

	if (w->gva % arch->align == 0 && w->len % arch->align == 0)
		return 0;
	snprintf(sentence, sizeof(sentence), "instructions of %s are %zu bytes long and aligned, this range is not",
		 arch->name, arch->align);
	return want_refuse(w, EINVAL, "alignment", 0, sentence, e);
}

static bool want_is_done(const struct plan_want *w)
{
	return memcmp(w->present, w->new_bytes, w->len) == 0;
}

/* First boundary in mask that holds the breakpoint opcode, or -1. */
static int first_trap(const struct arch_ops *arch, const uint8_t *code, size_t len, uint64_t mask)
{
	for (size_t i = 0; i + arch->trap_len <= len; i++)
		if ((mask >> i & 1) && memcmp(code + i, arch->trap, arch->trap_len) == 0)
			return (int)i;
	return -1;
}

/*
 * Walks the present bytes. A breakpoint hides the instruction it stands on, so
 * what follows it may not decode: it is looked for first, up to where decoding
 * got. *ret_end is 0 when the bytes do not decode to the end of the range.
 */
static int want_old_boundaries(const struct arch_ops *arch, const struct plan_want *w, uint64_t *ret_mask,
			       size_t *ret_end, struct err *e)
{
	uint64_t mask = 0;
	size_t end = 0;

	while (end < w->len) {
		struct arch_insn insn;

		if (arch->decode(w->present + end, w->present_len - end, w->gva + end, &insn) < 0)
			break;
		mask |= UINT64_C(1) << end;
		end += insn.len;
	}
	int trap = first_trap(arch, w->present, w->len, mask);
	if (trap >= 0)
		return want_refuse(
			w, EBUSY, "kprobe", (size_t)trap,
			"a breakpoint is set here: the guest has a kprobe or is patching itself; disable it and try again",
			e);
	*ret_mask = mask;
	*ret_end = end < w->len ? 0 : end;
	return 0;
}

/* Data changes under the guest's hands; nobody's patch was made for other data. */
static int want_data_expected(const struct plan_want *w, const char *found, const char *expected, struct err *e)
{
	char sentence[96 + 4 * POKE_SITE_LEN_MAX];

	snprintf(sentence, sizeof(sentence), "holds %s instead of %s: the guest has just changed it", found, expected);
	return want_refuse(w, ESTALE, "changed-by-guest", 0, sentence, e);
}

static int want_expected(const struct plan_want *w, struct err *e)
{
	char sentence[96 + 4 * POKE_SITE_LEN_MAX], found[2 * POKE_SITE_LEN_MAX + 1],
		expected[2 * POKE_SITE_LEN_MAX + 1];

	if (!w->has_expected || memcmp(w->present, w->expected, w->len) == 0)
		return 0;
	hex_encode(w->present, w->len, found);
	hex_encode(w->expected, w->len, expected);
	if (w->data)
		return want_data_expected(w, found, expected, e);
	snprintf(sentence, sizeof(sentence),
		 "holds %s instead of %s: the patch was made for another kernel, or somebody changed the text", found,
		 expected);
	return want_refuse(w, ESTALE, "old-bytes", 0, sentence, e);
}

static int want_old(const struct arch_ops *arch, const struct plan_want *w, uint64_t *ret_mask, struct err *e)
{
	size_t end = 0;
	int r = want_old_boundaries(arch, w, ret_mask, &end, e);

	if (r >= 0)
		r = want_expected(w, e);
	if (r < 0)
		return r;
	if (end == 0)
		return want_refuse(w, EILSEQ, "decode", 0, "the present bytes are not instructions", e);
	if (end > w->len)
		return want_refuse(w, EINVAL, "mid-instruction", w->len,
				   "the range ends in the middle of an old instruction", e);
	return 0;
}

/*
 * The new bytes with what follows them, so that an instruction that runs over
 * the end is told from bytes that are none. A breakpoint among them is refused:
 * nobody handles it, the guest would panic on it.
 */
static int want_new(const struct arch_ops *arch, const struct plan_want *w, uint64_t *ret_mask, struct err *e)
{
	uint8_t code[sizeof(w->present)];
	size_t end, bad;

	memcpy(code, w->present, w->present_len);
	memcpy(code, w->new_bytes, w->len);
	if (arch_boundaries(arch, code, w->present_len, w->gva, w->len, ret_mask, &end, &bad) < 0)
		return want_refuse(w, EILSEQ, "decode", bad, "the new bytes are not instructions", e);
	if (end > w->len)
		return want_refuse(w, EINVAL, "mid-instruction", w->len,
				   "the new bytes end in the middle of an instruction", e);
	int trap = first_trap(arch, code, w->len, *ret_mask);
	if (trap >= 0)
		return want_refuse(w, EINVAL, "trap", (size_t)trap,
				   "the new bytes hold a breakpoint, which would panic the guest", e);
	return 0;
}

static int site_build(const struct arch_ops *arch, const struct plan_want *w, struct poke_site *ret, struct err *e)
{
	uint64_t old_mask = 1, new_mask = 1;
	int r = 0;

	/* Operand bytes and data have no boundaries of their own; bit 0 stands for the whole. */
	if (w->new_is_code && !w->data) {
		r = want_old(arch, w, &old_mask, e);
		if (r >= 0)
			r = want_new(arch, w, &new_mask, e);
	} else {
		r = want_expected(w, e);
	}
	if (r < 0)
		return r;
	*ret = (struct poke_site){ .gva = w->gva,
				   .gpa = w->gpa,
				   .gpa_rest = w->gpa_rest,
				   .len = w->len,
				   .split = w->split,
				   .boundaries = old_mask,
				   .new_boundaries = new_mask,
				   .operand = !w->new_is_code && !w->data,
				   .data = w->data };
	memcpy(ret->old_bytes, w->present, w->len);
	memcpy(ret->new_bytes, w->new_bytes, w->len);
	memcpy(ret->label, w->label, sizeof(ret->label) - 1);
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct plan_want *x = *(const struct plan_want *const *)a, *y = *(const struct plan_want *const *)b;

	if (x->gva != y->gva)
		return x->gva < y->gva ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

/* sorted: room for n pointers; filled in order of address, each want checked. */
static int wants_sort(const struct arch_ops *arch, const struct plan_want *wants, size_t n,
		      const struct plan_want **sorted, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int r = want_check(&wants[i], e);
		if (r == 0 && wants[i].new_is_code)
			r = want_aligned(arch, &wants[i], e);
		if (r < 0)
			return r;
		sorted[i] = &wants[i];
	}
	qsort(sorted, n, sizeof(const struct plan_want *), by_address);
	for (size_t i = 1; i < n; i++) {
		char sentence[160];

		if (sorted[i - 1]->gva + sorted[i - 1]->len <= sorted[i]->gva)
			continue;
		snprintf(sentence, sizeof(sentence), "shares bytes with the site at %.95s (line %d)",
			 sorted[i - 1]->label, sorted[i - 1]->line);
		return want_refuse(sorted[i], EEXIST, "overlap", 0, sentence, e);
	}
	return 0;
}

int plan_build(const struct arch_ops *arch, unsigned caps, const struct plan_want *wants, size_t n_wants,
	       struct poke_plan **ret, struct err *e)
{
	_cleanup_(plan_free) struct poke_plan *p = NULL;
	_cleanup_free_ const struct plan_want **sorted = NULL;

	if (n_wants > POKE_SITES_MAX)
		return too_many(n_wants, e);
	sorted = calloc(n_wants ? n_wants : 1, sizeof(const struct plan_want *));
	p = calloc(1, sizeof(*p));
	if (p)
		p->sites = calloc(n_wants ? n_wants : 1, sizeof(*p->sites));
	if (!sorted || !p || !p->sites)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = wants_sort(arch, wants, n_wants, sorted, e);
	if (r < 0)
		return r;
	p->caps = caps;
	for (size_t i = 0; i < n_wants; i++) {
		struct poke_site *site = &p->sites[p->n_sites];

		if (want_is_done(sorted[i]))
			continue;
		r = site_build(arch, sorted[i], site, e);
		if (r < 0)
			return r;
		p->n_sites++;
		p->needs_quiescence |= (site->boundaries & (site->boundaries - 1)) != 0;
	}
	plan_choose(p);
	*ret = TAKE_PTR(p);
	return 0;
}
