// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is the guest in the middle of changing its own text? A static key's state and its
 * sites, a static call's function and its sites belong together, and the guest changes
 * them under locks: whoever holds one has read what is there and is about to compare
 * and write. Looked at while every vCPU stands still, so that the answer stays true.
 */
#include <errno.h>
#include <string.h>

#include "vmm/guest/guest.h"
#include "vmm/guest/sites.h"

#define SIGN_TEXT_MUTEX 0 /* which of the signs it is */

struct sign {
	const char *symbol;
	size_t offset, size; /* what is not 0 while the guest is at it */
	bool required;
	const char *what;
};

/*
 * arm64 switches keys without text_mutex (arch/arm64/kernel/jump_label.c), and its kprobes write words of their own.
 * struct mutex begins with its owner (include/linux/mutex.h; not so with PREEMPT_RT).
 * arch/x86/kernel/alternative.c: struct bp_patching_desc { vec; int nr_entries; atomic_t refs }
 * and tp_vec_nr. Newer kernels call them text_poke_array and count users per CPU; a poke is
 * always made under text_mutex.
 */
static const struct sign signs[GUEST_PATCHING_SIGNS] = {
	{ "text_mutex", 0, 8, true, "its text_mutex is held" },
	{ "jump_label_mutex", 0, 8, true, "its jump_label_mutex is held" },
	{ "static_call_mutex", 0, 8, false, "its static_call_mutex is held" },
	{ "bp_desc", 12, 4, false, "breakpoints of its text_poke are set" },
	{ "tp_vec_nr", 0, 4, false, "changes are queued for its text_poke" },
};

int guest_patching_prepare(struct guest *g, struct guest_patching *ret, struct err *e)
{
	struct guest_patching p = { 0 };

	if (strstr(guest_facts(g)->banner, "PREEMPT_RT"))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "guest-poking",
			       "the guest's kernel is a PREEMPT_RT one: whether it is changing its own text cannot be told there");
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		bool required = signs[i].required && (i != SIGN_TEXT_MUTEX || guest_facts(g)->arch != VCPU_ARM64);

		if (guest_symbol_find(g, signs[i].symbol, &p.place[i], NULL, NULL) >= 0)
			p.place[i] += signs[i].offset;
		else if (required)
			return err_set(e, ERR_REFUSED, EOPNOTSUPP, "guest-poking",
				       "the guest has no symbol %s: nothing tells whether it is changing its own text",
				       signs[i].symbol);
	}
	*ret = p;
	return 0;
}

/* The low bits of a mutex's owner are flags (kernel/locking/mutex.c), the address of a task has none there. */
#define MUTEX_FLAGS 7ull

int guest_patching_look(struct guest *g, const struct guest_patching *p, uint64_t ours, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		uint64_t value = 0;
		int r = p->place[i] ? guest_read(g, p->place[i], &value, signs[i].size, e) : 0;

		if (r < 0)
			return r;
		if (!value || (i == SIGN_TEXT_MUTEX && ours && (value & ~MUTEX_FLAGS) == ours))
			continue;
		err_set_addr(e, ERR_TIMEOUT, EBUSY, "guest-poking", p->place[i],
			     "the guest is changing its own text: %s", signs[i].what);
		return 1;
	}
	return 0;
}
