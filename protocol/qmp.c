// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From one framed message to a request or a JSON object. Jansson does the
 * parsing; what it cannot represent (the "id", which may be any JSON number) is
 * kept as text. Must never act on a request: it only says what was asked.
 */
#include "protocol/qmp.h"

#include <errno.h>
#include <string.h>

static bool number_byte(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Blanks out a number: "1e400" becomes "0    ". Returns the first byte behind it. */
static char *plain_number(char *p, const char *end)
{
	*p++ = '0';
	while (p < end && number_byte(*p))
		*p++ = ' ';
	return p;
}

/* Skips a string; \u0000, which QEMU allows and Jansson does not, becomes \u0001. */
static char *plain_string(char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++) {
		if (*p != '\\')
			continue;
		if (end - p > 6 && memcmp(p, "\\u0000", 6) == 0)
			p[5] = '1';
		p++;
	}
	return p < end ? p + 1 : p;
}

/*
 * Jansson refuses numbers above 2^63 or 1e308 and strings with NUL, but an id is
 * only echoed, never used: replace those inside it, so that the rest of the
 * message and the id's own structure are still checked. The lexer has already
 * checked each number by itself.
 */
static void plain_id(char *p, size_t len)
{
	char *end = p + len;

	while (p < end) {
		if (*p == '"')
			p = plain_string(p, end);
		else if (*p == '-' || (*p >= '0' && *p <= '9'))
			p = plain_number(p, end);
		else if (*p >= 'a' && *p <= 'z')
			while (p < end && *p >= 'a' && *p <= 'z')
				p++; /* a keyword: its 'e' is no exponent */
		else
			p++;
	}
}

static int frame_load(const struct qmp_frame *frame, json_t **ret, struct err *e)
{
	_cleanup_free_ char *copy = NULL;
	const char *text = frame->text;
	json_error_t je;

	if (frame->id) {
		copy = malloc(frame->len);
		if (!copy)
			return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
		memcpy(copy, text, frame->len);
		plain_id(copy + (frame->id - text), frame->id_len);
		text = copy;
	}
	json_t *j = json_loadb(text, frame->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (!j)
		return err_set(e, ERR_USAGE, EINVAL, "json", "JSON parse error, %s", je.text);
	*ret = j;
	return 0;
}

/* The id as text: as sent, or rebuilt when its key was spelt with escapes. */
static int request_take_id(struct qmp_request *req, const struct qmp_frame *frame, json_t *root, struct err *e)
{
	json_t *id = json_object_get(root, "id");

	if (!id)
		return 0;
	req->id = frame->id ? strndup(frame->id, frame->id_len) : json_dumps(id, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	if (!req->id)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	return 0;
}

static int member_unexpected(const char *key, struct err *e)
{
	return err_set(e, ERR_USAGE, EINVAL, "request", "QMP input member '%s' is unexpected", key);
}

static int request_take_member(struct qmp_request *req, const char *key, json_t *value, struct err *e)
{
	if (strcmp(key, "id") == 0)
		return 0;
	if (strcmp(key, "execute") == 0) {
		if (!json_is_string(value))
			return err_set(e, ERR_USAGE, EINVAL, "request", "QMP input member 'execute' must be a string");
		req->execute = strdup(json_string_value(value));
		return req->execute ? 0 : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	}
	if (strcmp(key, "arguments") == 0) {
		if (!json_is_object(value))
			return err_set(e, ERR_USAGE, EINVAL, "request",
				       "QMP input member 'arguments' must be an object");
		req->args = json_incref(value);
		return 0;
	}
	req->oob |= strcmp(key, "exec-oob") == 0;
	return member_unexpected(key, e);
}

static int request_take(struct qmp_request *req, const struct qmp_frame *frame, json_t *root, struct err *e)
{
	const char *key;
	json_t *value;

	if (!json_is_object(root))
		return err_set(e, ERR_USAGE, EINVAL, "request", "QMP input must be a JSON object");
	int r = request_take_id(req, frame, root, e);
	if (r < 0)
		return r;
	json_object_foreach(root, key, value) {
		r = request_take_member(req, key, value, e);
		if (r < 0)
			return r;
	}
	if (!req->execute)
		return err_set(e, ERR_USAGE, EINVAL, "request", "QMP input lacks member 'execute'");
	if (!req->args)
		req->args = json_object();
	return req->args ? 0 : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
}

int qmp_request_parse(const struct qmp_frame *frame, struct qmp_request *ret, struct err *e)
{
	json_t *root;

	*ret = (struct qmp_request){ 0 };
	int r = frame_load(frame, &root, e);
	if (r < 0)
		return r;
	r = request_take(ret, frame, root, e);
	json_decref(root);
	return r;
}

void qmp_request_clear(struct qmp_request *req)
{
	free(req->execute);
	free(req->id);
	json_decref(req->args);
	*req = (struct qmp_request){ 0 };
}

int qmp_message_parse(const struct qmp_frame *frame, json_t **ret, struct err *e)
{
	json_error_t je;
	json_t *j = json_loadb(frame->text, frame->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);

	if (!j)
		return err_set(e, ERR_FAILED, EBADMSG, "json", "JSON parse error, %s", je.text);
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(e, ERR_FAILED, EBADMSG, "json", "the message is not a JSON object");
	}
	*ret = j;
	return 0;
}
