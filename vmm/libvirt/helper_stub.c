// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The gdb stub by which a worker stops the VM and writes. QEMU runs as a user of its own, confined, and could
 * open a socket nowhere that we know of: it is handed one that listens already (getfd, chardev-add, "gdbserver
 * chardev:ID"; all in QEMU since 2.12). Must never take the stub of somebody else's debugger away.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vmm/libvirt/helper_private.h"

#define STUB_ID "vmpoke-gdb"

int helper_listen(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	/* The folder is ours alone until chmod is done. */
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(path, 0600) < 0 || listen(fd, 4) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* "gdb" is what -gdb and the monitor's gdbserver call theirs. */
static int stubs_look(struct helper *h, bool *ret_ours, struct err *e)
{
	json_t *list = NULL, *dev;
	size_t i;
	int r = helper_monitor(h, "query-chardev", NULL, -1, &list, e);

	*ret_ours = false;
	if (r < 0)
		return r;
	json_array_foreach(list, i, dev) {
		const char *label = json_string_value(json_object_get(dev, "label"));

		if (label && strcmp(label, "gdb") == 0)
			r = err_set(e, ERR_REFUSED, EBUSY, "gdb-in-use", "the domain has a gdb stub already");
		if (label && strcmp(label, STUB_ID) == 0)
			*ret_ours = true;
	}
	json_decref(list);
	return r;
}

static int gdbserver(struct helper *h, const char *line, const char *want, struct err *e)
{
	json_t *text = NULL;
	int r = helper_monitor(h, "human-monitor-command", json_pack("{s:s}", "command-line", line), -1, &text, e);

	if (r == 0 && !(json_is_string(text) && strstr(json_string_value(text), want)))
		r = err_set(e, ERR_FAILED, EIO, "gdb-start", "QEMU did not do '%s': %.200s", line,
			    json_is_string(text) ? json_string_value(text) : "");
	json_decref(text);
	return r;
}

static int stub_give(struct helper *h, int fd, struct err *e)
{
	int r = helper_monitor(h, "getfd", json_pack("{s:s}", "fdname", STUB_ID), fd, NULL, e);

	if (r == 0)
		r = helper_monitor(h, "chardev-add",
				   json_pack("{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b, s:b}}}", "id", STUB_ID, "backend", "type", "socket",
					     "data", "addr", "type", "fd", "data", "str", STUB_ID, "server", 1, "wait", 0), -1, NULL, e);
	return r < 0 ? r : gdbserver(h, "gdbserver chardev:" STUB_ID, "Waiting for gdb connection", e);
}

int helper_stub_open(struct helper *h, struct err *e)
{
	bool ours;
	int r = stubs_look(h, &ours, e);

	/* Left by a predecessor, with a socket that nobody can reach any more. */
	if (r == 0 && ours)
		r = gdbserver(h, "gdbserver none", "Disabled gdbserver", e);
	if (r == 0 && ours) /* it goes with the stub, unless none was started on it */
		helper_monitor(h, "chardev-remove", json_pack("{s:s}", "id", STUB_ID), -1, NULL, NULL);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = helper_listen(h->gdb_path);
	if (fd < 0)
		return err_set(e, ERR_FAILED, -fd, "", "cannot listen at %s: %s", h->gdb_path, strerror(-fd));
	return stub_give(h, fd, e);
}
