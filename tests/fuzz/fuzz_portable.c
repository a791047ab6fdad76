// SPDX-License-Identifier: GPL-2.0-or-later
/* Records of applied patches from another host. What is accepted must come back the same from what is written of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/worker/portable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_again(const struct portable *p)
{
	__attribute__((cleanup(portable_clear))) struct portable again = { 0 };
	json_t *o = portable_to_json(p);

	check(o && portable_from_json(o, &again, NULL) == 0);
	json_decref(o);
	check(strcmp(again.t->patch, p->t->patch) == 0 && again.t->boot.base == p->t->boot.base);
	check(again.text_len == p->text_len && memcmp(again.text, p->text, p->text_len) == 0);
	check(again.object_len == p->object_len && again.payload == p->payload);
	check(!p->object == !again.object && (!p->object || memcmp(again.object, p->object, p->object_len) == 0));
	check(again.t->plan->n_sites == p->t->plan->n_sites &&
	      memcmp(again.t->plan->sites, p->t->plan->sites, p->t->plan->n_sites * sizeof(*p->t->plan->sites)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	__attribute__((cleanup(portable_clear))) struct portable p = { 0 };
	json_t *o = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

	if (o && portable_from_json(o, &p, NULL) == 0) {
		check(p.t->operation == OPERATION_ADOPT && p.t->plan->n_sites >= 1 && p.t->plan->n_slots == 0);
		check(p.text_len >= 1 && p.text_len <= PATCHFILE_SIZE_MAX && p.object_len <= PATCHFILE_OBJECT_SIZE_MAX);
		check(p.payload % 4096 == 0 && (!p.payload || p.object));
		check_again(&p);
	}
	json_decref(o);
	return 0;
}
