// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cursor over YAML events; see patchfile_yaml.h. It never builds a tree and
 * never recurses: a patch file has a fixed shape, and the first event that does
 * not fit ends the parse. Must never repeat untrusted text unshortened or with
 * control characters in a sentence.
 */
#include "protocol/patchfile_yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "protocol/util.h"

#define WORD_MAX 32 /* how much of an unknown key is repeated */

int yaml_reader_fail(struct yaml_reader *r, int line, const char *fmt, ...)
{
	char text[sizeof(r->e->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->e, ERR_USAGE, EINVAL, "patch-file", "%.120s:%d: %s", r->filename, line, text);
}

/* The reader reports a byte offset instead of a mark when the text is not legal UTF-8. */
static int problem_line(const struct yaml_reader *r)
{
	const yaml_parser_t *p = &r->parser;
	int line = 1;

	if (p->error != YAML_READER_ERROR)
		return (int)p->problem_mark.line + 1;
	for (size_t i = 0; i < r->len && i < p->problem_offset; i++)
		line += r->text[i] == '\n';
	return line;
}

static int parser_failed(struct yaml_reader *r)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return err_set(r->e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	return yaml_reader_fail(r, problem_line(r), "not valid YAML: %s%s%s", p->problem ? p->problem : "unknown error",
				p->context ? " " : "", p->context ? p->context : "");
}

static const yaml_char_t *event_anchor(const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return ev->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return ev->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return ev->data.mapping_start.anchor;
	default:
		return NULL;
	}
}

static const yaml_char_t *event_tag(const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return ev->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return ev->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return ev->data.mapping_start.tag;
	default:
		return NULL;
	}
}

static int parser_step(struct yaml_reader *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
	if (!yaml_parser_parse(&r->parser, &r->event))
		return parser_failed(r);
	r->has_event = true;
	if (r->event.type == YAML_ALIAS_EVENT || event_anchor(&r->event))
		return yaml_reader_fail(r, yaml_reader_line(r), "anchors and aliases are not allowed; write the value out");
	if (event_tag(&r->event))
		return yaml_reader_fail(r, yaml_reader_line(r), "tags ('!...') are not allowed");
	return 0;
}

int yaml_reader_next(struct yaml_reader *r)
{
	int s = parser_step(r);

	if (s < 0 || r->event.type != YAML_DOCUMENT_END_EVENT)
		return s;
	s = parser_step(r);
	if (s == 0 && r->event.type == YAML_DOCUMENT_START_EVENT)
		return yaml_reader_fail(r, yaml_reader_line(r), "a second document begins here; one file is one patch");
	return s;
}

int yaml_reader_begin(struct yaml_reader *r, const char *text, size_t len, const char *filename, struct err *e)
{
	*r = (struct yaml_reader){ .filename = filename, .text = text, .len = len, .e = e };
	if (!yaml_parser_initialize(&r->parser))
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	/* Without this a byte order mark would switch to UTF-16, and offsets would not match the text. */
	yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
	int s = parser_step(r);
	if (s == 0)
		s = parser_step(r);
	if (s == 0 && r->event.type == YAML_STREAM_END_EVENT)
		return yaml_reader_fail(r, 1, "the file is empty");
	return s < 0 ? s : parser_step(r);
}

void yaml_reader_end(struct yaml_reader *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	yaml_parser_delete(&r->parser);
}

yaml_event_type_t yaml_reader_type(const struct yaml_reader *r)
{
	return r->event.type;
}

int yaml_reader_line(const struct yaml_reader *r)
{
	return (int)r->event.start_mark.line + 1;
}

const char *yaml_reader_scalar(const struct yaml_reader *r)
{
	const char *text = (const char *)r->event.data.scalar.value;

	if (r->event.type != YAML_SCALAR_EVENT || strlen(text) != r->event.data.scalar.length)
		return NULL;
	return text;
}

/* Levenshtein distance of two short words. */
static size_t word_distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], la = strlen(a), lb = strlen(b);

	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

static int key_unknown(struct yaml_reader *r, const char *key, const char *const *names, const char *where)
{
	const char *nearest = NULL;
	char word[WORD_MAX + 1] = "";
	size_t best = 3;

	for (size_t i = 0; i < WORD_MAX && key[i]; i++)
		word[i] = key[i] >= 0x20 && key[i] < 0x7f ? key[i] : '?';
	for (; *names; names++) {
		size_t d = word_distance(word, *names);
		if (d < best) {
			best = d;
			nearest = *names;
		}
	}
	return yaml_reader_fail(r, yaml_reader_line(r), "unknown key '%s' in %s%s%s%s", word, where,
				nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

int yaml_reader_key(struct yaml_reader *r, const char *const *names, const char *where, unsigned *seen)
{
	const char *key = yaml_reader_scalar(r);

	if (!key)
		return yaml_reader_fail(r, yaml_reader_line(r), "a key of %s must be a plain word", where);
	for (int i = 0; names[i]; i++) {
		if (strcmp(key, names[i]) != 0)
			continue;
		if (*seen & 1u << i)
			return yaml_reader_fail(r, yaml_reader_line(r), "'%s' is given twice in %s", names[i], where);
		*seen |= 1u << i;
		int s = yaml_reader_next(r);
		return s < 0 ? s : i;
	}
	return key_unknown(r, key, names, where);
}

int yaml_reader_next_key(struct yaml_reader *r, const char *const *names, const char *where, unsigned *seen,
			 int *ret_key)
{
	int s = yaml_reader_next(r);

	if (s < 0 || yaml_reader_type(r) == YAML_MAPPING_END_EVENT)
		return s;
	s = yaml_reader_key(r, names, where, seen);
	if (s < 0)
		return s;
	*ret_key = s;
	return 1;
}

int yaml_reader_next_item(struct yaml_reader *r)
{
	int s = yaml_reader_next(r);

	return s < 0 ? s : yaml_reader_type(r) != YAML_SEQUENCE_END_EVENT;
}
