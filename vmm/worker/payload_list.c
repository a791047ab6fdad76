// SPDX-License-Identifier: GPL-2.0-or-later
/* See payload_list.h. Every field of a record is checked: what is in the list will be freed in the guest one day. */
#include "vmm/worker/payload_list.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "protocol/qmp.h"
#include "vmm/payload/payload.h"

void payload_list_clear(struct payload_list *l)
{
	while (l->first) {
		struct payload_memory *next = l->first->next;

		free(l->first);
		l->first = next;
	}
}

struct payload_memory *payload_list_find(const struct payload_list *l, uint64_t gva)
{
	struct payload_memory *m = l->first;

	while (m && m->gva != gva)
		m = m->next;
	return m;
}

void payload_list_remove(struct payload_list *l, uint64_t gva)
{
	for (struct payload_memory **at = &l->first; *at; at = &(*at)->next) {
		struct payload_memory *m = *at;

		if (m->gva != gva)
			continue;
		*at = m->next;
		free(m);
		return;
	}
}

int payload_list_add(struct payload_list *l, const struct payload_memory *m)
{
	struct payload_memory *copy, **end = &l->first;
	size_t n = 0;

	payload_list_remove(l, m->gva);
	for (; *end; end = &(*end)->next)
		n++;
	if (n >= PAYLOADS_MAX)
		return -E2BIG;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *m;
	copy->next = NULL;
	*end = copy;
	return 0;
}

json_t *payload_record(const struct payload_memory *m)
{
	return json_pack("{s:s, s:I, s:s, s:o, s:I, s:I, s:I, s:b, s:s, s:s, s:o, s:I, s:I}", "type", "memory", "time",
			 (json_int_t)time(NULL), "patch", m->patch, "address", qmp_address(m->gva), "size",
			 (json_int_t)m->size, "text", (json_int_t)m->text, "crc", (json_int_t)m->crc, "shows_code", (int)m->shows_code, "release",
			 m->boot.release, "build_id", m->boot.build_id, "base", qmp_address(m->boot.base), "pid",
			 (json_int_t)m->boot.pid, "pid_start", (json_int_t)m->boot.pid_start);
}

json_t *payload_record_free(const struct payload_memory *m)
{
	return json_pack("{s:s, s:I, s:o}", "type", "memory-free", "time", (json_int_t)time(NULL), "address",
			 qmp_address(m->gva));
}

static int text_load(json_t *o, const char *key, char *buf, size_t cap)
{
	const char *text = json_string_value(json_object_get(o, key));

	if (!text || strlen(text) >= cap)
		return -EBADMSG;
	strcpy(buf, text);
	return 0;
}

static int number_load(json_t *o, const char *key, json_int_t max, json_int_t *ret)
{
	json_t *n = json_object_get(o, key);

	*ret = json_integer_value(n);
	return json_is_integer(n) && *ret >= 0 && *ret <= max ? 0 : -EBADMSG;
}

static int boot_load(json_t *o, struct boot *b)
{
	json_int_t pid = 0, start = 0;
	int r = text_load(o, "release", b->release, sizeof(b->release));

	r |= text_load(o, "build_id", b->build_id, sizeof(b->build_id));
	r |= qmp_address_parse(json_object_get(o, "base"), &b->base);
	r |= number_load(o, "pid", INT32_MAX, &pid);
	r |= number_load(o, "pid_start", TRANSACTION_NUMBER_MAX, &start);
	b->pid = (pid_t)pid;
	b->pid_start = (uint64_t)start;
	return r ? -EBADMSG : 0;
}

int payload_list_load(struct payload_list *l, json_t *record)
{
	struct payload_memory m = { .shows_code = json_is_true(json_object_get(record, "shows_code")) };
	json_int_t size = 0, text = 0, crc = 0;
	int r = text_load(record, "patch", m.patch, sizeof(m.patch));

	r |= qmp_address_parse(json_object_get(record, "address"), &m.gva);
	r |= number_load(record, "size", PAYLOAD_IMAGE_MAX, &size);
	r |= number_load(record, "text", size, &text);
	r |= number_load(record, "crc", UINT32_MAX, &crc);
	r |= boot_load(record, &m.boot);
	m.size = (size_t)size;
	m.text = (size_t)text;
	m.crc = (uint32_t)crc;
	if (r || !text || text % PAYLOAD_PAGE || size % PAYLOAD_PAGE || m.gva % PAYLOAD_PAGE || m.gva > UINT64_MAX - m.size)
		return -EBADMSG;
	return payload_list_add(l, &m);
}

int payload_list_load_free(struct payload_list *l, json_t *record)
{
	uint64_t gva;

	if (qmp_address_parse(json_object_get(record, "address"), &gva) < 0)
		return -EBADMSG;
	payload_list_remove(l, gva);
	return 0;
}

bool payload_list_has(const struct payload_list *l, json_t *record)
{
	uint64_t gva;

	return qmp_address_parse(json_object_get(record, "address"), &gva) == 0 && payload_list_find(l, gva);
}
