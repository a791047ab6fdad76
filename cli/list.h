/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of VMs, shown once or kept up to date. */
#ifndef VMPOKE_CLI_LIST_H
#define VMPOKE_CLI_LIST_H

#include <jansson.h>
#include <stddef.h>

#include "protocol/err.h"

struct cli;

/* At most rows VMs of query-vms's answer, and how many more there are. -ENOMEM. */
int list_print(struct cli *c, json_t *vms, size_t rows, struct err *e);

/* watch.c: list --watch. The exit code. */
int list_watch(struct cli *c);

#endif
