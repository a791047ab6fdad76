/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes to standard output: JSON as received, aligned tables, trees. Names
 * and strings come from guests and peers: everything shown to a person passes
 * output_safe(), so that no guest can send escape sequences to a terminal.
 */
#ifndef VMPOKE_CLI_OUTPUT_H
#define VMPOKE_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "protocol/err.h"

enum output_style { OUTPUT_PLAIN, OUTPUT_TITLE, OUTPUT_SUBTITLE, OUTPUT_LABEL, OUTPUT_GOOD, OUTPUT_WARN, OUTPUT_BAD };

struct output_kept;

struct output {
	FILE *stream;
	bool tty;   /* tables get a header and aligned columns */
	bool color;
	bool failed; /* memory ran short: the output is not whole */
	struct output_kept *kept; /* strings that live until output_clear() */
	size_t documents, titles; /* printed so far */
	bool list;		  /* documents are members of one array */
};

/* color: already decided from --color, NO_COLOR and the terminal. */
void output_init(struct output *o, FILE *stream, bool tty, bool color);
void output_clear(struct output *o);

/* Flushes and reports what could not be written: 0, or -errno and *e. */
int output_flush(struct output *o, struct err *e);

/* text itself, or a kept copy with control characters written as \xNN. Never NULL. */
const char *output_safe(struct output *o, const char *text);

/* A kept formatted string. "" when memory is short: output_flush() then reports it. */
const char *output_format(struct output *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Members of an answer for people: "-" when missing, numbers as decimal, booleans as yes/no. */
const char *output_field(struct output *o, json_t *object, const char *key);
json_int_t output_int(json_t *object, const char *key); /* 0 when missing */
bool output_bool(json_t *object, const char *key, bool when_missing);

/* UTC, "2026-11-21T12:00:00Z"; "-" when zero (missing) or out of range. */
const char *output_time(struct output *o, json_int_t seconds);

/* The name this machine has for a uid, or its number; "-" when it is none. */
const char *output_user(struct output *o, json_t *uid);

/* "0f1f44" as "0f 1f 44", the way patch files write bytes. */
const char *output_bytes(struct output *o, json_t *object, const char *key);

/* Escape sequences of a style, "" without colour. */
const char *output_on(const struct output *o, enum output_style style);
const char *output_off(const struct output *o);

/* text in that style: text itself without colour. Only for text that is safe. */
const char *output_styled(struct output *o, enum output_style style, const char *text);

/* "vm: NAME", an empty line between it and what is there already. */
void output_title(struct output *o, const char *name);

/* "INDENTlabel: value\n"; nothing when value is "-" or empty. */
void output_line(struct output *o, int indent, const char *label, const char *value);

/* The document and a newline. 0 or -EIO. */
int output_json(struct output *o, json_t *value);

/* Between these the documents are printed as one: an array of them. json false: does nothing. */
void output_list_begin(struct output *o, bool json);
void output_list_end(struct output *o);

/* cells: rows * columns strings, styled or not. On a terminal aligned under heads, else separated by tabs. */
void output_table(struct output *o, const char *const *heads, size_t columns, const char *const *cells, size_t rows);

#endif
