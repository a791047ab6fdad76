/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind protocol/agent_msg.h share. */
#ifndef VMPOKE_PROTOCOL_AGENT_PRIVATE_H
#define VMPOKE_PROTOCOL_AGENT_PRIVATE_H

#include "protocol/agent_msg.h"

/* Length of what was written, 0 when it did not fit. */
size_t agent_put_end(const struct agent_put *w);

size_t agent_text_length(const char *text);

/* A text of the guest's, which ends in a terminal one day: '?' for what is not printable. False: longer than cap - 1. */
bool agent_copy_text(char *out, size_t cap, const uint8_t *in, size_t n);

#endif
