// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's virtio-serial port. QEMU offers the host's end as a unix stream
 * socket (-chardev socket,server=on,wait=off), our own VMM hands over a connected
 * one. Nobody at the guest's end is no error: QEMU holds what was written, or
 * drops it while no guest program has the port open, and says neither; silence
 * is for the session above to notice.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "vmm/link/rows.h"
#include "vmm/link/stream.h"

#define CONNECT_US 0 /* one try: a unix socket is connected at once, or its backlog is full; the session tries again */

static int is_stream_socket(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_STREAM;
}

static int virtio_serial_probe(const struct link_target *target, char *why, size_t cap)
{
	struct stat st;

	if (target->fd >= 0) {
		if (is_stream_socket(target->fd))
			return 1;
		snprintf(why, cap, "descriptor %d is not a stream socket", target->fd);
	} else if (!target->socket) {
		snprintf(why, cap, "no socket of a virtio-serial port is known");
	} else if (stat(target->socket, &st)) {
		snprintf(why, cap, "%s: %s", target->socket, strerror(errno));
	} else if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, cap, "%s is not a socket", target->socket);
	} else {
		return 1;
	}
	return 0;
}

static int virtio_serial_open(const struct link_target *target, struct link **ret, struct err *e)
{
	int fd, flags;

	if (target->fd >= 0) {
		fd = fcntl(target->fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return err_set(e, ERR_FAILED, errno, "link", "virtio-serial: %s", strerror(errno));
	} else if (!target->socket) {
		return err_set(e, ERR_USAGE, EINVAL, "link", "virtio-serial: no socket was named");
	} else {
		fd = unix_connect(target->socket, CONNECT_US);
		if (fd < 0)
			return err_set(e, ERR_INACTIVE, -fd, "link", "virtio-serial: %s: %s%s", target->socket,
				       strerror(-fd), fd == -ETIMEDOUT ? " (it serves one client at a time)" : "");
		if (target->has_user && unix_served_by(fd, target->user) < 0) {
			close(fd);
			return err_set(e, ERR_REFUSED, EACCES, "foreign-socket", "virtio-serial: %s is not served by uid %u, who "
				       "registered the VM", target->socket, target->user);
		}
	}
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		int error = errno;
		close(fd);
		return err_set(e, ERR_FAILED, error, "link", "virtio-serial: %s", strerror(error));
	}
	return link_stream_new(&link_virtio_serial, fd, ret, e);
}

const struct link_ops link_virtio_serial = {
	.name = "virtio-serial",
	.probe = virtio_serial_probe,
	.open = virtio_serial_open,
	.fd = link_stream_fd,
	.events = link_stream_events,
	.timeout_ms = link_stream_timeout_ms,
	.tick = link_stream_tick,
	.read = link_stream_read,
	.write = link_stream_write,
	.close = link_stream_close,
	.stats = link_stream_stats,
};
