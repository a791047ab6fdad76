// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's vsock port. The guest needs a vhost-vsock device with the CID we
 * are given; the host's kernel is its other end. Must never wait for the guest:
 * one that is paused, or has no listener, answers later or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/link/rows.h"
#include "vmm/link/stream.h"

#define CID_FIRST_GUEST 3 /* vsock(7): 0 to 2 are the hypervisor, loopback and the host */

static int vsock_probe(const struct link_target *target, char *why, size_t cap)
{
	_cleanup_close_ int fd = -1;

	if (!target->cid || !target->port) {
		snprintf(why, cap, "no vsock address is known");
		return 0;
	}
	if (target->cid < CID_FIRST_GUEST || target->cid == VMADDR_CID_ANY || target->port == VMADDR_PORT_ANY) {
		snprintf(why, cap, "%u:%u is not the address of a guest", target->cid, target->port);
		return 0;
	}
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		snprintf(why, cap, "this kernel has no AF_VSOCK (%s)", strerror(errno));
		return 0;
	}
	/* The guest's packets go through it; without it connect() finds no way. Opening it would need its group. */
	if (access("/dev/vhost-vsock", F_OK)) {
		snprintf(why, cap, "there is no /dev/vhost-vsock (module vhost_vsock)");
		return 0;
	}
	return 1;
}

static int vsock_open(const struct link_target *target, struct link **ret, struct err *e)
{
	struct sockaddr_vm addr = { .svm_family = AF_VSOCK, .svm_cid = target->cid, .svm_port = target->port };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(e, ERR_FAILED, errno, "link", "vsock: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) && errno != EINPROGRESS) {
		int error = errno;
		close(fd);
		return err_set(e, ERR_INACTIVE, error, "link", "vsock %u:%u: %s", target->cid, target->port,
			       strerror(error));
	}
	return link_stream_new(&link_vsock, fd, ret, e);
}

/* The guest's kernel answers for a port where nobody listens, and for a device whose driver is not there yet. */
static ssize_t explained(const struct link *link, ssize_t n, struct err *e)
{
	struct link_stats stats;

	if (n != -ECONNRESET || link_stream_stats(link, &stats) < 0 || stats.rx_bytes)
		return n;
	return err_set(e, ERR_INACTIVE, ECONNRESET, "link", "vsock: no agent listens there in the guest");
}

static int vsock_tick(struct link *link, struct err *e)
{
	return (int)explained(link, link_stream_tick(link, e), e);
}

static ssize_t vsock_read(struct link *link, void *buf, size_t cap, struct err *e)
{
	return explained(link, link_stream_read(link, buf, cap, e), e);
}

static ssize_t vsock_write(struct link *link, const void *buf, size_t len, struct err *e)
{
	return explained(link, link_stream_write(link, buf, len, e), e);
}

const struct link_ops link_vsock = {
	.name = "vsock",
	.probe = vsock_probe,
	.open = vsock_open,
	.fd = link_stream_fd,
	.events = link_stream_events,
	.timeout_ms = link_stream_timeout_ms,
	.tick = vsock_tick,
	.read = vsock_read,
	.write = vsock_write,
	.close = link_stream_close,
	.stats = link_stream_stats,
};
