/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The raw table, for schema.c and schema_introspect.c only; everybody else goes through schema.h. */
#ifndef VMPOKE_PROTOCOL_SCHEMA_TABLE_H
#define VMPOKE_PROTOCOL_SCHEMA_TABLE_H

#include "protocol/schema.h"

extern const struct schema_command schema_command_table[]; /* ends with name NULL */
extern const struct schema_event schema_event_table[];	   /* ends with name NULL */

/* JSON type of a schema type in QEMU's words: "string", "integer", ... */
const char *schema_json_type(enum schema_type type);

#endif
