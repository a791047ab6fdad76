// SPDX-License-Identifier: GPL-2.0-or-later
/* See agent_keys.h. Must never put a key, or a part of one, where more than its owner can see it. */
#include "vmm/control/agent_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "protocol/agent_key.h"
#include "protocol/patchfile.h"
#include "protocol/util.h"
#include "vmm/control/durable.h"

struct key_names {
	char file[PATCHFILE_NAME_MAX + 16], tmp[PATCHFILE_NAME_MAX + 16];
};

/* The folder, opened; *ret names the VM's file in it. */
static int keys_open(const char *state_dir, const char *name, struct key_names *ret)
{
	snprintf(ret->file, sizeof(ret->file), "%s.agent", name);
	snprintf(ret->tmp, sizeof(ret->tmp), ".%s.tmp", name); /* no legal name begins with a dot */
	return durable_folder(state_dir, "keys", NULL);
}

int agent_key_store(const char *state_dir, const char *name, int fd, struct err *e)
{
	char text[2 * AGENT_KEY_LEN + 1];
	uint8_t key[AGENT_KEY_LEN];
	struct key_names names;
	int r = agent_key_read(fd, key, e);

	if (r < 0)
		return r;
	hex_encode(key, sizeof(key), text);
	_cleanup_close_ int dir = keys_open(state_dir, name, &names);
	r = dir < 0 ? dir : durable_write(dir, names.tmp, names.file, text);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, sizeof(text));
	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "the agent's key cannot be kept in the state folder: %s", strerror(-r)) : 0;
}

int agent_key_same(const char *state_dir, const char *name, int fd, struct err *e)
{
	uint8_t given[AGENT_KEY_LEN], kept[AGENT_KEY_LEN];
	struct key_names names;
	int r = agent_key_read(fd, given, e);

	if (r < 0)
		return r;
	_cleanup_close_ int dir = keys_open(state_dir, name, &names);
	_cleanup_close_ int file = dir < 0 ? -1 : openat(dir, names.file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool same = file >= 0 && agent_key_read(file, kept, NULL) == 0 && memcmp(given, kept, sizeof(given)) == 0;
	explicit_bzero(given, sizeof(given));
	explicit_bzero(kept, sizeof(kept));
	return same;
}

bool agent_key_kept(const char *state_dir, const char *name)
{
	struct key_names names;
	_cleanup_close_ int dir = keys_open(state_dir, name, &names);

	return dir < 0 || faccessat(dir, names.file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

int agent_key_remove(const char *state_dir, const char *name, struct err *e)
{
	struct key_names names;
	_cleanup_close_ int dir = keys_open(state_dir, name, &names);
	int r = dir < 0 ? dir : durable_remove(dir, names.file);

	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "the agent's key cannot be removed from the state folder: %s", strerror(-r)) : 0;
}
