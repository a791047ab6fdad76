// SPDX-License-Identifier: GPL-2.0-or-later
/* patch-export: what the next host has to know of the patches that are in this guest. Touches no guest. */
#include <errno.h>
#include <string.h>

#include "vmm/worker/commands.h"
#include "vmm/worker/payloads.h"
#include "vmm/worker/portable.h"
#include "vmm/worker/prepare.h"

static int read_stored(struct session *s, const char *name, const char *suffix, size_t cap, char **ret, size_t *ret_len,
		       struct err *e)
{
	char path[4096];
	int r = prepare_store_path(s, name, suffix, path, sizeof(path));

	if (r == 0)
		r = read_file(path, cap, ret, ret_len);
	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "the stored %s of patch '%s' cannot be read: %s",
			       strcmp(suffix, ".o") == 0 ? "object" : "text", name, strerror(-r)) :
		       0;
}

/* p's parts are its own but for the transaction, which stays the list's. */
static int collect(struct session *s, const struct patch_record *in, struct portable *p, struct err *e)
{
	const struct payload_memory *m = payloads_of(s, in);
	char *object = NULL;
	int r = read_stored(s, in->begin->patch, ".yaml", PATCHFILE_SIZE_MAX, &p->text, &p->text_len, e);

	if (r == 0 && m)
		r = read_stored(s, in->begin->patch, ".o", PATCHFILE_OBJECT_SIZE_MAX, &object, &p->object_len, e);
	p->object = (uint8_t *)object;
	p->payload = m ? m->gva : 0;
	return r;
}

static int record_make(struct session *s, const struct patch_record *in, json_t **ret, struct err *e)
{
	__attribute__((cleanup(portable_clear))) struct portable p = { 0 };
	int r = collect(s, in, &p, e);

	if (r < 0)
		return r;
	p.t = in->begin;
	*ret = portable_to_json(&p);
	p.t = NULL;
	return *ret ? 0 : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
}

static int add_record(struct session *s, const struct patch_record *in, json_t *records, size_t *budget, struct err *e)
{
	json_auto_t *record = NULL;
	int r = record_make(s, in, &record, e);

	if (r < 0)
		return r;
	size_t bytes = json_dumpb(record, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (bytes > *budget)
		return err_set(e, ERR_FAILED, EMSGSIZE, NULL, "the records do not fit into one message; ask for one patch at a "
			       "time ('patch')");
	*budget -= bytes;
	return json_array_append(records, record) < 0 ? err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory") : 0;
}

static bool exported(const struct patch_record *in, const char *name)
{
	return in->status == PATCH_APPLIED && (!name || strcmp(in->begin->patch, name) == 0);
}

int command_patch_export(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	const char *name = json_string_value(json_object_get(args, "patch"));
	json_auto_t *records = json_array();
	size_t budget = PORTABLE_REPLY_BYTES;
	int r = records ? 0 : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");

	session_events(s);
	for (const struct patch_record *in = s->patches.first; r == 0 && in; in = in->next)
		if (exported(in, name))
			r = add_record(s, in, records, &budget, e);
	if (r == 0 && name && json_array_size(records) == 0)
		r = err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "no patch named '%s' is applied here", name);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:O}", "vm", s->target.vm, "records", records);
	return 0;
}
