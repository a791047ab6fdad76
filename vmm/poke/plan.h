/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sites + old/new bytes + decoded boundaries -> a transaction, or a refusal that says why. */
#ifndef VMPOKE_VMM_POKE_PLAN_H
#define VMPOKE_VMM_POKE_PLAN_H

#include "vmm/poke/poke.h"

/* One change asked for, before anything was checked. */
struct plan_want {
	uint64_t gva;
	uint64_t gpa, gpa_rest; /* see struct poke_site */
	uint8_t len, split;
	bool has_expected;	/* the patch names the old bytes */
	uint8_t expected[POKE_SITE_LEN_MAX];
	uint8_t present[POKE_SITE_LEN_MAX + ARCH_INSN_MAX]; /* what guest memory holds at gva ... */
	uint8_t present_len;	/* ... at least len + ARCH_INSN_MAX where text goes on */
	uint8_t new_bytes[POKE_SITE_LEN_MAX];
	bool new_is_code;	/* false: operand/data bytes, new_boundaries are not decoded */
	bool module;		/* text of a module, which only the guest's own lists vouch for */
	bool data;		/* the guest's own data: see struct poke_site; new_is_code is not looked at */
	char label[96];
	int line;		/* in the patch file, 0 when none */
};

/* What one patch asks for. Zeroed at first; the wants are the list's own. */
struct want_list {
	struct plan_want *wants;
	size_t n, cap;
	struct poke_exclusion exclusions[POKE_EXCLUSIONS_MAX]; /* asked for by what is patched, besides those of the file */
	size_t n_exclusions;
};
/* Appends a copy. -ENOMEM; -E2BIG (ERR_REFUSED, "sites") above POKE_SITES_MAX. */
int want_list_add(struct want_list *l, const struct plan_want *w, struct err *e);
/* Nobody may be in x when old becomes new. One that is there already is not added. -E2BIG above POKE_EXCLUSIONS_MAX. */
int want_list_exclude(struct want_list *l, const struct poke_exclusion *x, struct err *e);
void want_list_clear(struct want_list *l);

/*
 * Checks and sorts. What is refused (kind ERR_REFUSED, rule in e->rule):
 *   "overlap"        two sites share a byte
 *   "alignment"      not whole instructions of an architecture whose instructions are all of one size
 *   "kprobe"         a 0xCC at any old boundary (guest kprobe or a poke in flight)
 *   "old-bytes"      present bytes differ from the expected ones
 *   "decode"         old or new bytes do not decode
 *   "mid-instruction" the range ends inside an old instruction, or new bytes end inside a new one
 *   "trap"           new bytes hold a breakpoint
 *   "same"           (not an error) sites that already hold the new bytes are dropped; all of them: n_sites 0
 * Sites: 0..POKE_SITES_MAX, else -E2BIG.
 */
int plan_build(const struct arch_ops *arch, unsigned caps, const struct plan_want *wants, size_t n_wants,
	       struct poke_plan **ret, struct err *e);
/*
 * Modes, gentlest first: flipped, staged, held, stopped; each is at least as safe as
 * the one before it. plan_build() takes the gentlest that is safe for these sites
 * on this backend. plan_choose() does so again after atomic or exclusions were set.
 */
void plan_choose(struct poke_plan *p);
/* Why mode cannot carry out p safely; NULL: it can. */
const char *plan_mode_unfit(const struct poke_plan *p, enum poke_mode mode);
/* What speaks for a mode, for sentences. */
const char *plan_mode_merit(enum poke_mode mode);
/* An operator's choice: any mode that is safe here, which is never a gentler one. -EOPNOTSUPP, rule "mode". */
int plan_set_mode(struct poke_plan *p, enum poke_mode mode, struct err *e);
const char *plan_trap_unfit(const struct poke_plan *p, enum backend_trap trap);
/* The kind of trap to stage with, where both are there. -EOPNOTSUPP, rule "trap". */
int plan_set_trap(struct poke_plan *p, enum backend_trap trap, struct err *e);

/* Copies slots (at most POKE_SLOTS_MAX) into p, in place of those it has. -EINVAL, -ENOMEM. */
int plan_set_slots(struct poke_plan *p, const struct poke_slot *slots, size_t n, struct err *e);

/*
 * How many slots p could use as it stands (mode, sites): one for each instruction that a vCPU
 * may come to behind a trap, that cannot be emulated and may be stepped. 0 without traps.
 */
size_t plan_copies_wanted(const struct arch_ops *arch, const struct poke_plan *p);

void plan_free(struct poke_plan *p); /* NULL allowed */
DEFINE_CLEANUP(struct poke_plan, plan_free)

#endif
