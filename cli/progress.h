/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call whose phases are shown while it lasts. */
#ifndef VMPOKE_CLI_PROGRESS_H
#define VMPOKE_CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>

#include "protocol/err.h"

struct cli;

/* Standard error is a terminal, and neither -q, --json nor --no-wait was given. */
bool progress_wanted(const struct cli *c);

/* As cli_call() for a command that answers with an object and takes "progress". args is borrowed. */
int progress_call(struct cli *c, const char *command, json_t *args, json_t **ret, struct err *e);

#endif
