// SPDX-License-Identifier: GPL-2.0-or-later
/* getfd and closefd, as in QEMU's monitor: descriptors of a client, for the commands that follow. */
#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/control/command.h"
#include "vmm/control/session.h"

int cmd_getfd(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
	      struct err *e)
{
	int fd = channel_take_fd(&s->channel);

	(void)d, (void)cmd, (void)ret;
	if (fd < 0)
		return err_set(e, ERR_USAGE, ENOENT, NULL, "No file descriptor supplied via SCM_RIGHTS");
	return fd_table_put(&s->fds, json_string_value(json_object_get(args, "fdname")), fd, e);
}

int cmd_closefd(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		struct err *e)
{
	_cleanup_close_ int fd = fd_table_take(&s->fds, json_string_value(json_object_get(args, "fdname")), e);

	(void)d, (void)cmd, (void)ret;
	return fd < 0 ? fd : 0;
}

int agent_key_take(struct session *s, json_t *args, int *ret, struct err *e)
{
	const char *text = json_string_value(json_object_get(args, "agent-key"));

	*ret = -1;
	if (!text)
		return 0;
	if (strncmp(text, "fd:", 3) != 0)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'agent-key' must be \"fd:NAME\", a file passed with getfd");
	int fd = fd_table_take(&s->fds, text + 3, e);
	if (fd < 0)
		return fd;
	*ret = fd;
	return 0;
}
