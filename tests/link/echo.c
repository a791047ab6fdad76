// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's end of the tests of links: gives back every byte. With the agent's
 * own code for frames; a bare port and bare frames are what it is compared with.
 *   link-echo packet IFNAME     the agent's stream over frames
 *   link-echo port PATH         a virtio-serial port, bytes as they come
 *   link-echo raw IFNAME        each frame of type 0x88B6, back to its sender
 * Says "ready" when it can be called. Ends when it is killed, or after an error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest-agent/link_packet.h"

#define RAW_ETHERTYPE 0x88b6

static void say(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

/* What came and has not gone back yet. */
struct pending {
	char bytes[16384];
	size_t len;
};

static ssize_t echo_write(struct agent_link *l, struct pending *p)
{
	ssize_t n = p->len ? l->ops->write(l, p->bytes, p->len) : 0;

	if (n > 0) {
		memmove(p->bytes, p->bytes + n, p->len - (size_t)n);
		p->len -= (size_t)n;
	}
	return n;
}

/* Until there is nothing to read, or no room for it. */
static ssize_t echo_round(struct agent_link *l, struct pending *p)
{
	ssize_t n;

	do {
		n = l->ops->read(l, p->bytes + p->len, sizeof(p->bytes) - p->len);
		if (n >= 0) {
			p->len += (size_t)n;
			ssize_t written = echo_write(l, p);
			n = written < 0 ? written : n;
		}
	} while (n > 0 && p->len < sizeof(p->bytes));
	return n < 0 ? n : 0;
}

static int echo_link(struct agent_link *l, const char *where)
{
	static struct pending pending;
	ssize_t r = l->ops->open(l, where);

	if (r < 0)
		return (int)r;
	say("ready");
	for (;;) {
		struct pollfd pfd = { .events = POLLIN };
		pfd.fd = l->ops->poll_fd(l, &pfd.events);
		poll(&pfd, 1, l->ops->timeout_ms(l));
		r = l->ops->tick(l);
		if (!r)
			r = echo_round(l, &pending);
		if (r == -ENOTCONN) {
			pending.len = 0;
			say("another host, or none");
		} else if (r < 0) {
			l->ops->close(l);
			return (int)r;
		}
	}
}

static int echo_port(const char *path)
{
	char buf[4096];
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	say("ready");
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		if (n == 0) /* nobody at the host's end */
			usleep(10000);
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(fd, buf + done, (size_t)(n - done));
			if (w < 0)
				return -errno;
		}
	}
}

static int echo_raw(const char *ifname)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(RAW_ETHERTYPE),
				    .sll_ifindex = (int)if_nametoindex(ifname) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	unsigned char frame[2048], mac[6];

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	say("ready");
	for (;;) {
		ssize_t n = recv(fd, frame, sizeof(frame), 0);
		if (n < 14)
			return n < 0 ? -errno : -EPROTO;
		memcpy(mac, frame, 6);
		memcpy(frame, frame + 6, 6);
		memcpy(frame + 6, mac, 6);
		if (send(fd, frame, (size_t)n, 0) < 0)
			return -errno;
	}
}

int main(int argc, char **argv)
{
	int r = -EINVAL;

	if (argc == 3 && !strcmp(argv[1], "packet"))
		r = echo_link(agent_link_packet, argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "port"))
		r = echo_port(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "raw"))
		r = echo_raw(argv[2]);
	else
		fprintf(stderr, "usage: link-echo packet|raw IFNAME, link-echo port PATH\n");
	fprintf(stderr, "link-echo: %s\n", strerror(-r));
	return 1;
}
