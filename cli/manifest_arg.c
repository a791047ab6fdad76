// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signed manifest of a patch file: PATCH.manifest and PATCH.manifest.minisig beside it, or what
 * --manifest names. Sent as they are; what they are worth vmpoked decides.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "protocol/manifest.h"
#include "protocol/minisign.h"
#include "protocol/util.h"

static int text_add(const char *path, size_t max, const char *member, json_t *args, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file(path, max, &text, &len);

	if (r < 0)
		return err_set(e, ERR_USAGE, -r, "", "cannot read '%s': %s", path, strerror(-r));
	json_t *value = len == 0 || memchr(text, '\0', len) ? NULL : json_stringn(text, len);
	if (!value)
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is empty or not UTF-8 text", path);
	return json_object_set_new(args, member, value) < 0 ? err_set(e, ERR_FAILED, ENOMEM, "", "out of memory") : 0;
}

static int both_add(const char *manifest, json_t *args, struct err *e)
{
	_cleanup_free_ char *signature = NULL;

	if (asprintf(&signature, "%s.minisig", manifest) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (access(signature, F_OK) < 0)
		return err_set(e, ERR_USAGE, ENOENT, "", "'%s' is not signed: 'minisign -S -m %s' makes '%s', --unsigned leaves it away",
			       manifest, manifest, signature);
	int r = text_add(manifest, MANIFEST_SIZE_MAX, "manifest", args, e);
	return r < 0 ? r : text_add(signature, MINISIGN_SIG_SIZE_MAX, "signature", args, e);
}

int manifest_arg_add(const struct cli *c, const char *patch, json_t *args, struct err *e)
{
	_cleanup_free_ char *beside = NULL;

	if (c->options.unsigned_ && c->options.manifest)
		return err_set(e, ERR_USAGE, EINVAL, "", "'--manifest' and '--unsigned' exclude each other");
	if (c->options.manifest && !json_object_get(args, "text"))
		return err_set(e, ERR_USAGE, EINVAL, "", "'--manifest' goes with a patch file, not with the name of a patch");
	if (c->options.unsigned_ || !json_object_get(args, "text"))
		return 0;
	if (c->options.manifest)
		return both_add(c->options.manifest, args, e);
	if (asprintf(&beside, "%s.manifest", patch) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	return access(beside, F_OK) < 0 ? 0 : both_add(beside, args, e);
}
