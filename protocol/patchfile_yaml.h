/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cursor over the events of one YAML document, for patchfile.c: every step is
 * checked for what a patch file may not contain (aliases, anchors, tags, more
 * documents), every failure becomes "FILE:LINE: sentence".
 */
#ifndef VMPOKE_PROTOCOL_PATCHFILE_YAML_H
#define VMPOKE_PROTOCOL_PATCHFILE_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "protocol/err.h"

struct yaml_reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the current event */
	bool has_event;
	const char *filename;
	const char *text;
	size_t len;
	struct err *e;
};

/* Points the cursor at the first event of the document. Call yaml_reader_end() always. */
int yaml_reader_begin(struct yaml_reader *r, const char *text, size_t len, const char *filename, struct err *e);
void yaml_reader_end(struct yaml_reader *r);

/* The next event. At the end of the document: checks that nothing follows. */
int yaml_reader_next(struct yaml_reader *r);

/* Type and 1-based line of the current event. */
yaml_event_type_t yaml_reader_type(const struct yaml_reader *r);
int yaml_reader_line(const struct yaml_reader *r);

/* The current event's text when it is a scalar without NUL, else NULL. Valid until the next step. */
const char *yaml_reader_scalar(const struct yaml_reader *r);

/* Fills the error "FILE:LINE: ..." and returns -EINVAL. */
int yaml_reader_fail(struct yaml_reader *r, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * The current event is a mapping key: finds it among names (NULL-terminated) and
 * notes it in *seen. Returns its index and steps on to the value; refuses
 * unknown and repeated keys. where: "a site", for the sentence.
 */
int yaml_reader_key(struct yaml_reader *r, const char *const *names, const char *where, unsigned *seen);

/*
 * On to the next key of the mapping the current event begins or is in: 1, with its index and the
 * cursor on its value; 0 at the mapping's end. Otherwise as yaml_reader_key().
 */
int yaml_reader_next_key(struct yaml_reader *r, const char *const *names, const char *where, unsigned *seen,
			 int *ret_key);

/* The same for the elements of a sequence. */
int yaml_reader_next_item(struct yaml_reader *r);

#endif
