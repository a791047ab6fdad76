// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Link over vsock: the agent listens, the host connects. One host at a time, the
 * newest counts, because a host's process that died leaves a connection nobody
 * will close. Must take nobody but the host: other processes of this guest, and
 * guests nested in it, can connect too.
 */
#include "guest-agent/link.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define WHERE_DEFAULT "805" /* AGENT_VSOCK_PORT */

static struct vsock {
	struct agent_link link;
	int listener, peer, epoll;
	bool want_out;
} vsock;

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void vsock_close(struct agent_link *l)
{
	(void)l;
	drop(&vsock.peer);
	drop(&vsock.listener);
	drop(&vsock.epoll);
}

static int watch(int op, int fd, bool out)
{
	struct epoll_event ev = { .events = EPOLLIN | (out ? (uint32_t)EPOLLOUT : 0), .data.fd = fd };

	return epoll_ctl(vsock.epoll, op, fd, &ev) ? -errno : 0;
}

static int start_listening(unsigned port)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };

	vsock.listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (vsock.listener < 0)
		return errno == EAFNOSUPPORT ? -ENODEV : -errno; /* the module may be loaded later */
	vsock.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (vsock.epoll < 0 || bind(vsock.listener, (const void *)&sa, sizeof(sa)) || listen(vsock.listener, 1))
		return -errno;
	return watch(EPOLL_CTL_ADD, vsock.listener, false);
}

static int vsock_open(struct agent_link *l, const char *where)
{
	char *end;
	unsigned long port = strtoul(where, &end, 10);

	if (*end || !port || port >= UINT32_MAX)
		return -EINVAL;
	int r = start_listening((unsigned)port);
	if (r < 0)
		vsock_close(l);
	return r;
}

/* The next connection that comes from the host. True: there is a new peer. */
static bool take_peer(void)
{
	struct sockaddr_vm sa = { 0 };
	socklen_t len = sizeof(sa);
	int fd = accept4(vsock.listener, (void *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	if (sa.svm_cid != VMADDR_CID_HOST) {
		close(fd);
		return false;
	}
	drop(&vsock.peer);
	vsock.peer = fd;
	vsock.want_out = false;
	if (watch(EPOLL_CTL_ADD, fd, false))
		drop(&vsock.peer);
	return true;
}

/* n of a call on the peer: an error ends this connection, not the link. */
static ssize_t outcome(ssize_t n, bool zero_is_end)
{
	if (n > 0 || (n == 0 && !zero_is_end))
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	drop(&vsock.peer);
	return -ENOTCONN;
}

static ssize_t vsock_read(struct agent_link *l, void *buf, size_t cap)
{
	(void)l;
	if (take_peer())
		return -ENOTCONN;
	if (vsock.peer < 0)
		return 0;
	return outcome(recv(vsock.peer, buf, cap, 0), true);
}

static ssize_t vsock_write(struct agent_link *l, const void *buf, size_t len)
{
	(void)l;
	if (vsock.peer < 0)
		return -ENOTCONN;
	return outcome(send(vsock.peer, buf, len, MSG_NOSIGNAL), false);
}

static int vsock_poll_fd(struct agent_link *l, short *events)
{
	bool out = *events & POLLOUT;

	(void)l;
	if (vsock.peer >= 0 && out != vsock.want_out && !watch(EPOLL_CTL_MOD, vsock.peer, out))
		vsock.want_out = out;
	*events = POLLIN;
	return vsock.epoll;
}

static int vsock_timeout_ms(struct agent_link *l)
{
	(void)l;
	return -1;
}

static const struct agent_link_ops ops = {
	.name = "vsock",
	.where = WHERE_DEFAULT,
	.open = vsock_open,
	.read = vsock_read,
	.write = vsock_write,
	.close = vsock_close,
	.poll_fd = vsock_poll_fd,
	.timeout_ms = vsock_timeout_ms,
};

static struct vsock vsock = { .link.ops = &ops, .listener = -1, .peer = -1, .epoll = -1 };
struct agent_link *const agent_link_vsock = &vsock.link;
