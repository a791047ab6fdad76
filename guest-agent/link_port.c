// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Link over a virtio-serial port. While the host's end is closed the port reads as
 * end of file and polls as POLLHUP for ever (drivers/char/virtio_console.c:
 * port_fops_read, port_fops_poll), so a plain poll(2) would spin. An epoll
 * descriptor that watches the port's *edges* does not: it wakes when bytes come,
 * when there is room again and when the host opens or closes, each once.
 */
#include "guest-agent/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "guest-agent/port_find.h"
#include "protocol/agent.h"

#define PORTS "/dev/virtio-ports/"

static struct port {
	struct agent_link link;
	int fd, epoll;
	bool up; /* bytes came since the last end of file */
} port;

static void port_close(struct agent_link *l)
{
	(void)l;
	if (port.fd >= 0)
		close(port.fd);
	if (port.epoll >= 0)
		close(port.epoll);
	port.fd = port.epoll = -1;
	port.up = false;
}

/* The device, or where udev would have made a name for it the one the kernel gave. */
static int open_device(const char *where)
{
	const int flags = O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	int fd = open(where, flags);
	char path[300];

	if (fd >= 0 || errno != ENOENT || strncmp(where, PORTS, sizeof(PORTS) - 1))
		return fd;
	int dir = open("/sys/class/virtio-ports", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return dir;
	int r = port_find(dir, where + sizeof(PORTS) - 1, path, sizeof(path));
	close(dir);
	errno = -r;
	return r ? -1 : open(path, flags);
}

static int port_open(struct agent_link *l, const char *where)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

	port.fd = open_device(where);
	port.epoll = port.fd < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
	if (port.epoll >= 0 && !epoll_ctl(port.epoll, EPOLL_CTL_ADD, port.fd, &ev))
		return 0;
	int error = errno;
	port_close(l);
	return -error;
}

/* Takes the edge: what happens from here on makes a new one. */
static void take_edge(void)
{
	struct epoll_event ev;

	(void)epoll_wait(port.epoll, &ev, 1, 0);
}

static bool not_now(int error)
{
	return error == EAGAIN || error == EINTR;
}

static ssize_t port_read(struct agent_link *l, void *buf, size_t cap)
{
	(void)l;
	take_edge();
	ssize_t n = read(port.fd, buf, cap);
	if (n > 0) {
		port.up = true;
		return n;
	}
	if (n < 0)
		return not_now(errno) ? 0 : -errno;
	if (!port.up)
		return 0;
	port.up = false;
	return -ENOTCONN;
}

/* The kernel says EAGAIN while no host listens. */
static ssize_t port_write(struct agent_link *l, const void *buf, size_t len)
{
	(void)l;
	take_edge();
	ssize_t n = write(port.fd, buf, len);
	if (n < 0)
		return not_now(errno) ? 0 : -errno;
	return n;
}

static int port_poll_fd(struct agent_link *l, short *events)
{
	(void)l;
	*events = POLLIN; /* of the epoll descriptor, which watches for room too */
	return port.epoll;
}

static int port_timeout_ms(struct agent_link *l)
{
	(void)l;
	return -1;
}

static const struct agent_link_ops ops = {
	.name = "port",
	.where = PORTS AGENT_PORT_NAME,
	.open = port_open,
	.read = port_read,
	.write = port_write,
	.close = port_close,
	.poll_fd = port_poll_fd,
	.timeout_ms = port_timeout_ms,
};

static struct port port = { .link.ops = &ops, .fd = -1, .epoll = -1 };
struct agent_link *const agent_link_port = &port.link;
