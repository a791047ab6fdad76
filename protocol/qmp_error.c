// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The error object on the wire and back, and guest addresses on the wire. An
 * error received is the peer's word: every member is optional, type-checked
 * and cut to the size of ours.
 */
#include "protocol/qmp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Sentences may carry bytes of a guest or a cut UTF-8 character; JSON wants clean text. */
static json_t *text_to_json(const char *text)
{
	json_t *j = json_string(text);
	char clean[sizeof(((struct err *)NULL)->text)];
	size_t i;

	if (j)
		return j;
	for (i = 0; i < sizeof(clean) - 1 && text[i]; i++)
		clean[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	clean[i] = '\0';
	return json_string(clean);
}

static json_t *blocker_to_json(const struct err *e)
{
	json_t *o = json_pack("{s:o, s:o}", "where", text_to_json(e->blocker.where), "symbol",
			      text_to_json(e->blocker.symbol));
	int r = !o;

	if (e->blocker.pid >= 0)
		r |= json_object_set_new(o, "pid", json_integer(e->blocker.pid));
	if (e->blocker.comm[0])
		r |= json_object_set_new(o, "comm", text_to_json(e->blocker.comm));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static int detail_fill(json_t *detail, const struct err *e)
{
	int r = json_object_set_new(detail, "kind", json_string(err_kind_name(e->kind)));

	r |= json_object_set_new(detail, "errno", json_integer(e->error));
	if (e->rule[0])
		r |= json_object_set_new(detail, "rule", text_to_json(e->rule));
	if (e->has_addr)
		r |= json_object_set_new(detail, "address", qmp_address(e->addr));
	if (e->vm[0])
		r |= json_object_set_new(detail, "vm", text_to_json(e->vm));
	if (e->override[0])
		r |= json_object_set_new(detail, "override", text_to_json(e->override));
	if (e->blocker.where[0])
		r |= json_object_set_new(detail, "blocker", blocker_to_json(e));
	return r;
}

json_t *qmp_error_to_json(const struct err *e)
{
	json_t *root = json_object(), *detail = json_object();
	int r = json_object_set_new(root, "class", json_string(err_qmp_class(e->kind)));

	r |= json_object_set_new(root, "desc", text_to_json(e->text));
	r |= detail_fill(detail, e);
	r |= json_object_set_new(root, "detail", detail);
	if (r == 0)
		return root;
	json_decref(root);
	return NULL;
}

static const struct {
	const char *name;
	enum err_kind kind;
	int error;
} classes[] = {
	{ "DeviceNotFound", ERR_NOT_FOUND, ENOENT },
	{ "DeviceNotActive", ERR_INACTIVE, ENOTCONN },
	{ "CommandNotFound", ERR_NO_COMMAND, ENOSYS },
	{ "KVMMissingCap", ERR_FAILED, EOPNOTSUPP },
};

static void err_from_class(json_t *class, struct err *e)
{
	const char *name = json_string_value(class);

	e->kind = ERR_FAILED;
	e->error = EIO;
	for (size_t i = 0; name && i < ARRAY_SIZE(classes); i++) {
		if (strcmp(name, classes[i].name) != 0)
			continue;
		e->kind = classes[i].kind;
		e->error = classes[i].error;
	}
}

static void text_from_json(json_t *value, char *buf, size_t cap)
{
	const char *text = json_string_value(value);

	if (text)
		snprintf(buf, cap, "%s", text);
}

static void blocker_from_json(json_t *o, struct err_blocker *b)
{
	json_t *pid = json_object_get(o, "pid");
	json_int_t n = json_integer_value(pid);

	text_from_json(json_object_get(o, "where"), b->where, sizeof(b->where));
	text_from_json(json_object_get(o, "comm"), b->comm, sizeof(b->comm));
	text_from_json(json_object_get(o, "symbol"), b->symbol, sizeof(b->symbol));
	b->pid = json_is_integer(pid) && n >= 0 && n <= INT32_MAX ? (int)n : -1;
}

static void err_from_detail(json_t *detail, struct err *e)
{
	json_t *kind = json_object_get(detail, "kind"), *error = json_object_get(detail, "errno");
	json_int_t n = json_integer_value(error);

	if (json_is_string(kind)) {
		e->kind = err_kind_from_name(json_string_value(kind));
		if (e->kind == ERR_NONE)
			e->kind = ERR_FAILED;
	}
	if (n > 0 && n < 4096)
		e->error = (int)n;
	text_from_json(json_object_get(detail, "rule"), e->rule, sizeof(e->rule));
	text_from_json(json_object_get(detail, "vm"), e->vm, sizeof(e->vm));
	text_from_json(json_object_get(detail, "override"), e->override, sizeof(e->override));
	e->has_addr = qmp_address_parse(json_object_get(detail, "address"), &e->addr) == 0;
	if (json_is_object(json_object_get(detail, "blocker")))
		blocker_from_json(json_object_get(detail, "blocker"), &e->blocker);
}

int qmp_error_from_json(json_t *error, struct err *e)
{
	struct err tmp = { 0 };

	err_from_class(json_object_get(error, "class"), &tmp);
	snprintf(tmp.text, sizeof(tmp.text), "the peer answered with an error");
	text_from_json(json_object_get(error, "desc"), tmp.text, sizeof(tmp.text));
	err_from_detail(json_object_get(error, "detail"), &tmp);
	if (e)
		*e = tmp;
	return -tmp.error;
}

json_t *qmp_address(uint64_t addr)
{
	return json_sprintf("0x%llx", (unsigned long long)addr);
}

int qmp_address_parse(json_t *value, uint64_t *ret)
{
	const char *text = json_string_value(value);
	uint64_t v = 0;

	if (!text || strncmp(text, "0x", 2) != 0)
		return -EINVAL;
	size_t digits = strspn(text + 2, "0123456789abcdefABCDEF");
	if (digits == 0 || digits > 16 || text[2 + digits])
		return -EINVAL;
	for (const char *p = text + 2; *p; p++)
		v = v << 4 | (uint64_t)(*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
	*ret = v;
	return 0;
}
