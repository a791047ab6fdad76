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
	uint64_t revoked = 0;

	(void)s, (void)cmd;
	if (!patch_name_valid(patch))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'patch' is not the name of a patch");
	if (strspn(key, "0123456789ABCDEF") != MINISIGN_ID_TEXT - 1)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'key' must be 16 upper-case hex digits, as minisign prints them");
	int r = serials_revoke(d->serials_fd, key, patch, serial ? (uint64_t)json_integer_value(serial) : 0, &revoked, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:I}", "patch", patch, "key", key, "serial", (json_int_t)revoked);
	return 0;
}
