/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client's request on its way to a worker and back; as a job where the command is one. */
#ifndef VMPOKE_CONTROL_RELAY_H
#define VMPOKE_CONTROL_RELAY_H

#include <jansson.h>

#include "protocol/err.h"
#include "protocol/schema.h"

struct audit_entry;
struct job;
struct session;
struct vm;

/* As a command_fn. With "job-id": 0 at once; without: COMMAND_DEFERRED. */
int relay_start(struct vm *vm, struct session *s, const struct schema_command *cmd, json_t *args,
		json_t **ret, struct err *e);

/* Who wants to know what came of it; embedded in the caller's object. */
struct relay_listener {
	/* value is borrowed, NULL on error. Called once, never from inside relay_start_own(). */
	void (*done)(struct relay_listener *l, json_t *value, const struct err *e);
};

/* The same for the daemon itself: a job nobody waits for, named by the table of jobs. args are borrowed; asked is copied. */
int relay_start_own(struct vm *vm, const struct schema_command *cmd, json_t *args, const struct audit_entry *asked,
		    struct relay_listener *l, struct err *e);

/* Gives up a running job: at once when the worker has not got it yet, else the worker is asked. */
void relay_cancel(struct job *job);

#endif
