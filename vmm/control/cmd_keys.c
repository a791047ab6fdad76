// SPDX-License-Identifier: GPL-2.0-or-later
/* query-keys, manifest-revoke. Must never change which keys are trusted: that is the folder of keys. */
#include <errno.h>
#include <string.h>

#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/serials.h"

int cmd_query_keys(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		   struct err *e)
{
	(void)s, (void)cmd, (void)args, (void)e;
	*ret = keys_json(d->keys);
	return 0;
}

int cmd_manifest_revoke(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
			struct err *e)
{
	const char *patch = json_string_value(json_object_get(args, "patch"));
	const char *key = json_string_value(json_object_get(args, "key"));
	json_t *serial = json_object_get(args, "serial");
	char id[MINISIGN_ID_TEXT];
	uint64_t revoked = 0;

	(void)s, (void)cmd;
	if (!patch_name_valid(patch))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'patch' is not the name of a patch");
	size_t digits = strlen(key);
	if (digits > MINISIGN_ID_TEXT - 1 || strspn(key, "0123456789ABCDEF") != digits)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'key' must be up to 16 upper-case hex digits, as minisign prints them");
	/* minisign leaves leading zeros away. */
	snprintf(id, sizeof(id), "%.*s%s", (int)(MINISIGN_ID_TEXT - 1 - digits), "0000000000000000", key);
	int r = serials_revoke(d->serials_fd, id, patch, serial ? (uint64_t)json_integer_value(serial) : 0, &revoked, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:I}", "patch", patch, "key", id, "serial", (json_int_t)revoked);
	return 0;
}
