/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between a request and its command: may this client have this, and is the patch signed? Every answer is audited. */
#ifndef VMPOKE_CONTROL_AUTHORIZE_H
#define VMPOKE_CONTROL_AUTHORIZE_H

#include <jansson.h>
#include <stdbool.h>

#include "protocol/err.h"
#include "protocol/schema.h"

struct audit_entry;
struct daemon;
struct rule;
struct session;

/* Before the arguments are looked at: control-ro.sock takes little. -EACCES, ERR_REFUSED, rule "read-only". */
int authorize_socket(struct daemon *d, struct session *s, const struct schema_command *cmd, struct err *e);

/*
 * args have passed schema_check_args(). 0: go on; s->asked then tells what was allowed, for whoever
 * reports how it ended. Refusals are of policy.h and trust.h; ERR_FAILED when the audit record cannot be written.
 */
int authorize(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, struct err *e);

/*
 * The same for what an install rule has vmpoked apply (args: of patch-apply): may its author have it in this VM now, by
 * the present policy, and is it still signed by somebody we trust, not expired, and meant for this VM? *ret is for
 * whoever reports how it ended.
 */
int authorize_rule(struct daemon *d, const char *vm, const struct rule *rule, json_t *args, struct audit_entry *ret, struct err *e);

/* May this client be told of that VM? */
bool authorize_sees(const struct daemon *d, const struct session *s, const char *vm);

#endif
