/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands a worker answers: one function each, one table. Arguments were checked against the schema. */
#ifndef VMPOKE_VMM_WORKER_COMMANDS_H
#define VMPOKE_VMM_WORKER_COMMANDS_H

#include "vmm/worker/session.h"

struct command {
	const char *name;
	/* Fills *ret (new reference) and returns 0, or returns a negative errno and fills *e. */
	int (*run)(struct session *s, json_t *args, json_t **ret, struct err *e);
};

/* Answers one request on the session's control socket, whatever happens. */
void command_answer(struct session *s, const struct qmp_request *req);

int command_query_vm(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_vm_probe(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_query_symbols(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_query_sites(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_vm_count(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_patch_check(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_patch_apply(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_patch_revert(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_patch_replace(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_patch_export(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_patch_adopt(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_query_agent(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_vm_set_agent(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_query_patches(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_patch_verify(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_query_history(struct session *s, json_t *args, json_t **ret, struct err *e);
int command_query_trace(struct session *s, json_t *args, json_t **ret, struct err *e);

#endif
