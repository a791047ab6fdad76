/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of the guest that was allocated for payloads, as the journal tells of it. Does no I/O. */
#ifndef VMPOKE_VMM_WORKER_PAYLOAD_LIST_H
#define VMPOKE_VMM_WORKER_PAYLOAD_LIST_H

#include <jansson.h>

#include "vmm/worker/record.h"

#define PAYLOADS_MAX 1024 /* of one guest */

struct payload_memory {
	struct payload_memory *next;
	char patch[PATCHFILE_NAME_MAX + 1]; /* it was allocated for */
	uint64_t gva;
	size_t size;	 /* whole pages */
	size_t text;	 /* bytes of it that can be executed, from its beginning */
	uint32_t crc;	 /* CRC-32C of what was written there; nobody may change it */
	bool shows_code; /* see payload_shows_code() */
	struct boot boot;
};

struct payload_list {
	struct payload_memory *first;
};

void payload_list_clear(struct payload_list *l);
/* A copy of m, in place of what was at the same address. -ENOMEM; -E2BIG above PAYLOADS_MAX. */
int payload_list_add(struct payload_list *l, const struct payload_memory *m);
void payload_list_remove(struct payload_list *l, uint64_t gva);
struct payload_memory *payload_list_find(const struct payload_list *l, uint64_t gva);

/* The journal's records "memory" and "memory-free". New references; NULL when memory is short. */
json_t *payload_record(const struct payload_memory *m);
json_t *payload_record_free(const struct payload_memory *m);
/* Back into a list. -EBADMSG: the file may have been edited. */
int payload_list_load(struct payload_list *l, json_t *record);
int payload_list_load_free(struct payload_list *l, json_t *record);
/* Is the record "memory" about memory of the list? */
bool payload_list_has(const struct payload_list *l, json_t *record);

#endif
