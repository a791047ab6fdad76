// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * manifest: prints what is to be signed for a patch file. Needs no vmpoked and no key;
 * must never print a manifest for a file that would not parse.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "protocol/manifest.h"
#include "protocol/minisign.h"
#include "protocol/util.h"

static int build_ids_take(const struct cli_options *o, struct manifest *m, struct err *e)
{
	for (size_t i = 0; i < o->n_build_ids; i++) {
		struct manifest_build_id *id = &m->build_ids[m->n_build_ids];
		ssize_t n = hex_decode(o->build_ids[i], id->bytes, sizeof(id->bytes));

		if (n < 8)
			return err_set(e, ERR_USAGE, EINVAL, "", "--build-id: '%s' is not 8 to 32 bytes in hex", o->build_ids[i]);
		id->len = (size_t)n;
		m->n_build_ids++;
	}
	return 0;
}

static int options_take(const struct cli_options *o, struct manifest *m, struct err *e)
{
	for (size_t i = 0; i < o->n_vms; i++) {
		if (!manifest_vm_pattern_valid(o->vms[i]))
			return err_set(e, ERR_USAGE, EINVAL, "", "--vm: '%s' is neither a VM's name nor a pattern of names", o->vms[i]);
		strcpy(m->vms[m->n_vms++], o->vms[i]); /* the check above bounds the length */
	}
	if (o->expires && manifest_time_parse(o->expires, &m->expires) < 0)
		return err_set(e, ERR_USAGE, EINVAL, "", "--expires: '%s' is neither a date, 2027-01-31, nor a time in UTC, "
			       "2027-01-31T12:00:00Z", o->expires);
	/* Later ones are higher, without anybody keeping count. */
	m->serial = o->serial ? (uint64_t)o->serial : (uint64_t)time(NULL);
	return build_ids_take(o, m, e);
}

static int patch_take(const char *path, struct manifest *m, struct err *e)
{
	json_auto_t *args = json_object();
	_cleanup_free_ uint8_t *object = NULL;
	int r = patch_arg_add(path, true, args, e);
	json_t *text = json_object_get(args, "text"), *hex = json_object_get(args, "object");

	if (r < 0)
		return r;
	if (!text)
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is not a file", path);
	minisign_sha256(json_string_value(text), json_string_length(text), m->sha256);
	r = patch_arg_name(path, m->patch, sizeof(m->patch), e);
	if (r < 0 || !hex)
		return r;
	object = malloc(json_string_length(hex));
	ssize_t n = object ? hex_decode(json_string_value(hex), object, json_string_length(hex)) : -ENOMEM;
	if (n < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	minisign_sha256(object, (size_t)n, m->objects[m->n_objects++]);
	return 0;
}

static void manifest_json(struct cli *c, const char *text)
{
	json_auto_t *o = json_pack("{s:s}", "manifest", text);

	output_json(&c->out, o);
}

int cmd_manifest(struct cli *c)
{
	_cleanup_free_ struct manifest *m = calloc(1, sizeof(*m));
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	int r = m ? patch_take(c->args[0], m, &e) : err_set(&e, ERR_FAILED, ENOMEM, "", "out of memory");

	if (r == 0)
		r = options_take(&c->options, m, &e);
	if (r == 0 && manifest_format(m, &text) < 0)
		r = err_set(&e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (r < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		manifest_json(c, text);
	else
		fputs(text, c->out.stream);
	return 0;
}
