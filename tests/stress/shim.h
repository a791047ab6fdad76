/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backend's rows with something done before the n-th call that changes anything or
 * waits for vCPUs: between any two of them is a stage of a transaction.
 */
#ifndef VMPOKE_TESTS_STRESS_SHIM_H
#define VMPOKE_TESTS_STRESS_SHIM_H

#include "vmm/backend.h"

struct shim {
	struct backend_ops ops;
	struct backend_live_ops live;
	const struct backend_ops *real;
	struct backend *backend;
	unsigned calls;	  /* so far */
	unsigned fire_at; /* number of the call, from 0 */
	bool fired;
	const char *before; /* the call that came next, once fired */
	/* On the engine's thread. A failure is kept in failed, and the call goes on. */
	int (*fire)(struct shim *s, struct err *e);
	int failed;
	struct err why;
};

/* One at a time in this process. b is used through s until shim_off(). */
void shim_on(struct shim *s, struct backend *b);
void shim_off(struct shim *s);
/* If it has not fired by now. */
void shim_fire(struct shim *s, const char *before);

#endif
