// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Begin records of a journal that somebody edited. What is accepted must be a transaction that
 * recovery can work from, and must come back the same from what is written of it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/worker/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_plan(const struct poke_plan *p)
{
	check(p->n_sites >= 1 && p->n_sites <= POKE_SITES_MAX);
	check(p->n_exclusions <= POKE_EXCLUSIONS_MAX);
	check(p->n_slots <= POKE_SLOTS_MAX);
	for (size_t i = 0; i < p->n_slots; i++)
		check((p->slots[i].gva & 4095) <= 4096 - POKE_SLOT_LEN && !((p->slots[i].gva ^ p->slots[i].gpa) & 4095));
	check(strcmp(poke_mode_name(p->mode), "unknown") != 0 && strcmp(poke_trap_name(p->trap), "unknown") != 0);
	for (size_t i = 0; i < p->n_exclusions; i++)
		check(p->exclusions[i].start < p->exclusions[i].end);
	for (size_t i = 0; i < p->n_sites; i++) {
		const struct poke_site *s = &p->sites[i];

		check(s->len >= 1 && s->len <= POKE_SITE_LEN_MAX && s->split >= 1 && s->split <= s->len);
		check(memchr(s->label, '\0', sizeof(s->label)) != NULL);
	}
}

static void check_again(const struct transaction *t)
{
	_cleanup_(transaction_free) struct transaction *again = NULL;
	json_t *o = transaction_to_json(t);

	check(o && transaction_from_json(o, &again) == 0);
	json_decref(o);
	check(again->plan->mode == t->plan->mode && again->plan->atomic == t->plan->atomic);
	check(again->plan->needs_quiescence == t->plan->needs_quiescence);
	check(memcmp(again->plan->exclusions, t->plan->exclusions, sizeof(t->plan->exclusions)) == 0);
	check(again->plan->n_slots == t->plan->n_slots &&
	      (!t->plan->n_slots ||
	       memcmp(again->plan->slots, t->plan->slots, t->plan->n_slots * sizeof(*t->plan->slots)) == 0));
	check(memcmp(again->plan->sites, t->plan->sites, t->plan->n_sites * sizeof(*t->plan->sites)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(transaction_free) struct transaction *t = NULL;
	json_t *o = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

	if (o && transaction_from_json(o, &t) == 0) {
		check_plan(t->plan);
		check_again(t);
	}
	json_decref(o);
	return 0;
}
