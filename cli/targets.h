/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM argument: names, UUIDs, pid:N, qmp:PATH, patterns, --all. */
#ifndef VMPOKE_CLI_TARGETS_H
#define VMPOKE_CLI_TARGETS_H

#include <jansson.h>
#include <stdbool.h>

struct cli;
struct cli_verb;

/* Is the verb's first argument a VM? */
bool cli_verb_takes_vm(const struct cli_verb *verb);

/*
 * Runs c->verb for the VM, or one by one for the VMs, that args[0] means; with --all args[0] is not
 * looked at. The exit code: the verb's; of several, theirs when all ended with the same, else 8.
 */
int cli_run_targets(struct cli *c);

/* Of an element of query-vms: its name ("" when it has none); is it a machine that is shut down, without a guest? */
const char *target_name(json_t *vm);
bool target_is_off(json_t *vm);

#endif
