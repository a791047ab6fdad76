/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key a VM's worker and its agent share: a file of 64 hex digits that nobody but its owner can read. */
#ifndef VMPOKE_PROTOCOL_AGENT_KEY_H
#define VMPOKE_PROTOCOL_AGENT_KEY_H

#include "protocol/agent.h"
#include "protocol/err.h"

/*
 * Reads the key from an open file (borrowed; position moves). ERR_USAGE: not a regular file,
 * open to others than its owner (rule "key-readable"), or not 64 hex digits. The sentence never holds any of it.
 */
int agent_key_read(int fd, uint8_t ret[AGENT_KEY_LEN], struct err *e);

#endif
