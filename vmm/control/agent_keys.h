/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys that VMs share with their agents: STATE/keys/NAME.agent, mode 0600, read by
 * the VM's worker. They come as descriptors and are in no argument, log or answer.
 */
#ifndef VMPOKE_CONTROL_AGENT_KEYS_H
#define VMPOKE_CONTROL_AGENT_KEYS_H

#include <stdbool.h>

#include "protocol/err.h"

/* Checks the key in an open file (borrowed) and keeps it. Errors of agent_key_read(), or ERR_FAILED. */
int agent_key_store(const char *state_dir, const char *name, int fd, struct err *e);

/* 1: the VM's key is the one in the open file; 0: it has another, or none. Errors of agent_key_read(). */
int agent_key_same(const char *state_dir, const char *name, int fd, struct err *e);

/* Whether the VM has a key at all, or may have. */
bool agent_key_kept(const char *state_dir, const char *name);

/* A key that is not there is fine. */
int agent_key_remove(const char *state_dir, const char *name, struct err *e);

#endif
