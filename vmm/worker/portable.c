// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See portable.h. A record is the journal's begin record without what belongs to this host, and with what the
 * other one needs besides: text, object, where the payload is. Does no I/O.
 */
#include "vmm/worker/portable.h"

#include <errno.h>
#include <string.h>

#include "protocol/blake2s.h"
#include "protocol/qmp.h"
#include "protocol/util.h"

#define HASH_BYTES BLAKE2S_OUT_MAX

/* Of the journal's record: what means nothing elsewhere, or is found out anew there. */
static const char *const of_this_host[] = { "type", "txn", "operation", "pid", "pid_start", "slots" };

void portable_clear(struct portable *p)
{
	transaction_free(p->t);
	free(p->text);
	free(p->object);
	*p = (struct portable){ 0 };
}

static void hash_hex(const uint8_t *bytes, size_t len, char hex[static 2 * HASH_BYTES + 1])
{
	uint8_t hash[HASH_BYTES];
	struct blake2s b;

	blake2s_init(&b, sizeof(hash), NULL, 0);
	blake2s_more(&b, bytes, len);
	blake2s_done(&b, hash);
	hex_encode(hash, sizeof(hash), hex);
}

static int add_object(const struct portable *p, json_t *o)
{
	_cleanup_free_ char *hex = malloc(2 * p->object_len + 1);
	char hash[2 * HASH_BYTES + 1];

	if (!hex)
		return -ENOMEM;
	hex_encode(p->object, p->object_len, hex);
	hash_hex(p->object, p->object_len, hash);
	return json_object_set_new(o, "object", json_string(hex)) |
	       json_object_set_new(o, "object_hash", json_string(hash));
}

json_t *portable_to_json(const struct portable *p)
{
	json_t *o = transaction_to_json(p->t);
	int r = o ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(of_this_host); i++)
		json_object_del(o, of_this_host[i]);
	r |= json_object_set_new(o, "version", json_integer(PORTABLE_VERSION));
	r |= json_object_set_new(o, "text", json_stringn(p->text, p->text_len));
	if (p->object)
		r |= add_object(p, o);
	if (p->payload)
		r |= json_object_set_new(o, "payload", qmp_address(p->payload));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_USAGE, EBADMSG, NULL, "not a record of an applied patch: %s", what);
}

static int take_text(json_t *record, struct portable *p, struct err *e)
{
	json_t *text = json_object_get(record, "text");

	if (!json_is_string(text) || json_string_length(text) < 1 || json_string_length(text) > PATCHFILE_SIZE_MAX)
		return bad(e, "'text' must be a patch file");
	p->text_len = json_string_length(text);
	p->text = strndup(json_string_value(text), p->text_len);
	return p->text ? 0 : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
}

static int take_object(json_t *record, struct portable *p, struct err *e)
{
	json_t *hex = json_object_get(record, "object");
	const char *want = json_string_value(json_object_get(record, "object_hash"));
	size_t len = json_string_length(hex);
	char hash[2 * HASH_BYTES + 1];

	if (!hex)
		return 0;
	if (!json_is_string(hex) || len < 2 || len > 2 * PATCHFILE_OBJECT_SIZE_MAX || !want)
		return bad(e, "'object' must be bytes in hex, with their 'object_hash'");
	p->object = malloc(len / 2 + 1);
	if (!p->object)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	ssize_t n = hex_decode(json_string_value(hex), p->object, len / 2 + 1);
	if (n <= 0)
		return bad(e, "'object' must be bytes in hex");
	p->object_len = (size_t)n;
	hash_hex(p->object, p->object_len, hash);
	return strcmp(hash, want) == 0 ? 0 : bad(e, "'object' is not what 'object_hash' says");
}

static int take_payload(json_t *record, struct portable *p, struct err *e)
{
	json_t *at = json_object_get(record, "payload");

	if (!at)
		return 0;
	if (qmp_address_parse(at, &p->payload) < 0 || p->payload == 0 || p->payload % 4096 != 0 || !p->object)
		return bad(e, "'payload' must be the address of a page, and goes with 'object'");
	return 0;
}

/* The journal's own reader checks it, with this host's members made up. */
static int take_transaction(json_t *record, struct portable *p, struct err *e)
{
	json_t *o = json_copy(record);
	int r = o ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(of_this_host); i++)
		json_object_del(o, of_this_host[i]);
	r |= json_object_set_new(o, "txn", json_integer(0));
	r |= json_object_set_new(o, "operation", json_string("adopt"));
	r |= json_object_set_new(o, "pid", json_integer(0));
	r |= json_object_set_new(o, "pid_start", qmp_address(0));
	r = r ? -ENOMEM : transaction_from_json(o, &p->t);
	json_decref(o);
	if (r == -ENOMEM)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	return r < 0 ? bad(e, "its members are not those of one") : 0;
}

int portable_from_json(json_t *record, struct portable *ret, struct err *e)
{
	__attribute__((cleanup(portable_clear))) struct portable p = { 0 };
	json_t *version = json_object_get(record, "version");

	if (!json_is_object(record))
		return bad(e, "it must be an object");
	if (!json_is_integer(version) || json_integer_value(version) != PORTABLE_VERSION)
		return bad(e, "'version' must be 1");
	int r = take_transaction(record, &p, e);
	if (r == 0)
		r = take_text(record, &p, e);
	if (r == 0)
		r = take_object(record, &p, e);
	if (r == 0)
		r = take_payload(record, &p, e);
	if (r < 0)
		return r;
	*ret = p;
	p = (struct portable){ 0 };
	return 0;
}
