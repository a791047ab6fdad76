/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Payloads in the guest: memory is got for one before its patch is planned, and given
 * back when no patch leads to it and nobody is in it any more. The journal knows of it
 * from its allocation to its end.
 */
#ifndef VMPOKE_VMM_WORKER_PAYLOADS_H
#define VMPOKE_VMM_WORKER_PAYLOADS_H

#include <jansson.h>

#include "vmm/worker/payload_list.h"
#include "vmm/worker/prepare.h"

struct session;

/*
 * Allocates memory for p's payload, writes it there and reads it back; p->payload_base is where. Nothing
 * leads there yet. Errors of borrowed_begin() and borrow_exec_alloc(); nothing is kept then that anybody knows of.
 */
int payloads_place(struct session *s, struct prepared *p, uint64_t timeout_us, struct err *e);

/*
 * Gives back what no patch that is in leads to. Never freed: memory in which some saved context is, whose payload
 * shows the addresses of its code, or that cannot be freed for want of an agent; it is tried again the next time. Returns
 * an array of objects {patch, address, size, state: "freed" or "kept", why?, blocker?}.
 */
json_t *payloads_release(struct session *s, uint64_t timeout_us);

/* {patch, address, size, state: "in-use" or "unused"} of each. */
json_t *payloads_json(const struct session *s);

/* The one that a patch leads to; NULL: none. */
const struct payload_memory *payloads_of(const struct session *s, const struct patch_record *in);

/*
 * Takes over the payload that came with the guest: p's, at p->payload_base, where the guest must hold exactly what p's
 * object is there. -ESTALE, -EEXIST (ERR_REFUSED, "payload-memory").
 */
int payloads_adopt(struct session *s, struct prepared *p, struct err *e);

/* The guest booted anew: none of it is there any more. */
void payloads_lose(struct session *s);

bool payloads_in_use(const struct session *s, const struct payload_memory *m);

/* The CRC-32C of what is there now. -EFAULT: nothing is. */
int payloads_crc(struct session *s, const struct payload_memory *m, uint32_t *ret, struct err *e);

#endif
