// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Formatting for people and for machines; see output.h. Must never write
 * anything but the result: errors go to standard error, elsewhere.
 */
#include "cli/output.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "protocol/util.h"

struct output_kept {
	struct output_kept *next;
	char text[];
};

void output_init(struct output *o, FILE *stream, bool tty, bool color)
{
	*o = (struct output){ .stream = stream, .tty = tty, .color = color };
}

void output_clear(struct output *o)
{
	while (o->kept) {
		struct output_kept *next = o->kept->next;

		free(o->kept);
		o->kept = next;
	}
}

int output_flush(struct output *o, struct err *e)
{
	if (o->failed)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory; the output is not whole");
	errno = 0;
	if (fflush(o->stream) == 0 && !ferror(o->stream))
		return 0;
	int error = errno ? errno : EIO;

	return err_set(e, ERR_FAILED, error, "", "cannot write to standard output: %s", strerror(error));
}

/* Room for size bytes, terminator included; NULL when memory is short. */
static char *keep(struct output *o, size_t size)
{
	struct output_kept *k = malloc(sizeof(*k) + size);

	if (!k) {
		o->failed = true;
		return NULL;
	}
	k->next = o->kept;
	o->kept = k;
	return k->text;
}

/* Length of the control character at s: C0 and DEL, or a C1 control in UTF-8; 0 when it is none. */
static size_t control_length(const unsigned char *s)
{
	if (s[0] < 0x20 || s[0] == 0x7f)
		return 1;
	return s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f ? 2 : 0;
}

const char *output_safe(struct output *o, const char *text)
{
	size_t bad = 0;

	for (const char *s = text; *s; s++)
		bad += control_length((const unsigned char *)s);
	if (bad == 0)
		return text;
	char *copy = keep(o, strlen(text) + 3 * bad + 1), *out = copy;
	if (!copy)
		return "";
	for (const char *s = text; *s;) {
		size_t n = control_length((const unsigned char *)s);

		if (n == 0)
			*out++ = *s++;
		for (; n > 0; n--)
			out += sprintf(out, "\\x%02x", (unsigned char)*s++);
	}
	*out = '\0';
	return copy;
}

const char *output_format(struct output *o, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	char *text = n >= 0 ? keep(o, (size_t)n + 1) : NULL;
	if (text)
		vsnprintf(text, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return text ? text : "";
}

const char *output_field(struct output *o, json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (json_is_string(value))
		return output_safe(o, json_string_value(value));
	if (json_is_integer(value))
		return output_format(o, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	return "-";
}

json_int_t output_int(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool output_bool(json_t *object, const char *key, bool when_missing)
{
	json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : when_missing;
}

const char *output_user(struct output *o, json_t *uid)
{
	const struct passwd *pw = json_is_integer(uid) ? getpwuid((uid_t)json_integer_value(uid)) : NULL;

	if (!json_is_integer(uid))
		return "-";
	return pw ? output_safe(o, pw->pw_name) : output_format(o, "%" JSON_INTEGER_FORMAT, json_integer_value(uid));
}

const char *output_time(struct output *o, json_int_t seconds)
{
	time_t t = (time_t)seconds;
	char text[32];
	struct tm tm;

	/* 253402300799 is the last second of the year 9999. */
	if (seconds <= 0 || seconds > 253402300799 || !gmtime_r(&t, &tm))
		return "-";
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return output_format(o, "%s", text);
}

const char *output_bytes(struct output *o, json_t *object, const char *key)
{
	const char *hex = output_field(o, object, key);
	size_t len = strlen(hex);
	char *text = len >= 2 ? keep(o, len + len / 2 + 1) : NULL, *out = text;

	if (!text)
		return hex;
	for (size_t i = 0; i < len; i++) {
		if (i > 0 && i % 2 == 0)
			*out++ = ' ';
		*out++ = hex[i];
	}
	*out = '\0';
	return text;
}

const char *output_on(const struct output *o, enum output_style style)
{
	static const char *const codes[] = {
		[OUTPUT_PLAIN] = "", [OUTPUT_TITLE] = "\033[1;32m", [OUTPUT_SUBTITLE] = "\033[1;33m", [OUTPUT_LABEL] = "\033[1m",
		[OUTPUT_GOOD] = "\033[32m", [OUTPUT_WARN] = "\033[33m", [OUTPUT_BAD] = "\033[1;31m",
	};

	return o->color ? codes[style] : "";
}

const char *output_off(const struct output *o)
{
	return o->color ? "\033[0m" : "";
}

const char *output_styled(struct output *o, enum output_style style, const char *text)
{
	return o->color && style != OUTPUT_PLAIN ? output_format(o, "%s%s%s", output_on(o, style), text, output_off(o)) : text;
}

void output_title(struct output *o, const char *name)
{
	fprintf(o->stream, "%s%svm%s: %s%s%s\n", o->titles++ ? "\n" : "", output_on(o, OUTPUT_LABEL), output_off(o),
		output_on(o, OUTPUT_TITLE), output_safe(o, name), output_off(o));
}

void output_line(struct output *o, int indent, const char *label, const char *value)
{
	if (*value && strcmp(value, "-") != 0)
		fprintf(o->stream, "%*s%s%s%s: %s\n", indent, "", output_on(o, OUTPUT_LABEL), label, output_off(o), value);
}

int output_json(struct output *o, json_t *value)
{
	if (o->list && o->documents)
		fputs(", ", o->stream);
	o->documents++;
	/* ASCII, as vmpoked sends it: no C1 control character reaches a terminal this way either. */
	if (json_dumpf(value, o->stream, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17)) < 0)
		return -EIO;
	if (o->list)
		return 0;
	return fputc('\n', o->stream) == EOF ? -EIO : 0;
}

void output_list_begin(struct output *o, bool json)
{
	o->list = json;
	if (json)
		fputc('[', o->stream);
}

void output_list_end(struct output *o)
{
	if (o->list)
		fputs("]\n", o->stream);
	o->list = false;
}

/* Columns a cell takes: characters of UTF-8, and nothing for our own styles (other escapes do not get here). */
static size_t cell_width(const char *s)
{
	size_t n = 0;

	while (*s) {
		if (*s == '\033') {
			s += strcspn(s, "m");
			s += *s == 'm';
			continue;
		}
		n += ((unsigned char)*s++ & 0xc0) != 0x80;
	}
	return n;
}

/* One row without its newline. */
static void table_row(struct output *o, const char *const *cells, const size_t *widths, size_t columns)
{
	for (size_t i = 0; i < columns; i++) {
		bool last = i + 1 == columns;

		if (!o->tty)
			fprintf(o->stream, "%s%s", cells[i], last ? "" : "\t");
		else
			fprintf(o->stream, "%s%*s", cells[i], last ? 0 : (int)(widths[i] - cell_width(cells[i])) + 2, "");
	}
}

void output_table(struct output *o, const char *const *heads, size_t columns, const char *const *cells, size_t rows)
{
	_cleanup_free_ size_t *widths = calloc(columns, sizeof(*widths));

	if (!widths) {
		o->failed = true;
		return;
	}
	for (size_t i = 0; i < columns; i++) {
		widths[i] = strlen(heads[i]);
		for (size_t row = 0; row < rows; row++) {
			size_t len = cell_width(cells[row * columns + i]);

			widths[i] = len > widths[i] ? len : widths[i];
		}
	}
	if (o->tty) {
		fputs(output_on(o, OUTPUT_LABEL), o->stream);
		table_row(o, heads, widths, columns);
		fprintf(o->stream, "%s\n", output_off(o));
	}
	for (size_t row = 0; row < rows; row++) {
		table_row(o, cells + row * columns, widths, columns);
		fputc('\n', o->stream);
	}
}
