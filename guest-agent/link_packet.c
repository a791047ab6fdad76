// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Listens on a network interface for a host that calls by Ethernet frames, and
 * answers it: no IP, no address, nothing the guest's firewall looks at. Must
 * never send a frame or run a timer before it was called. Who calls may be
 * anybody on that Ethernet: this file does not know, and must not pretend to.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest-agent/link_packet.h"
#include "protocol/dgram.h"

#define FRAMES_PER_CALL 64   /* a flood on the Ethernet must not keep us here */
#define CONGESTED_MS	10   /* until a card whose queue was full is tried again */

struct packet_link {
	struct agent_link link;
	int fd; /* -1: closed */
	bool congested;
};
static struct packet_link packet;
static struct dgram stream; /* apart from what has a first value, so that it takes no room in the file */

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Address and MTU of the interface req names. */
static int read_iface(int fd, struct ifreq *req, struct dgram_config *config)
{
	if (ioctl(fd, SIOCGIFHWADDR, req))
		return -errno;
	if (req->ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -ENOTTY;
	memcpy(config->mac, req->ifr_hwaddr.sa_data, DGRAM_MAC_LEN);
	if (ioctl(fd, SIOCGIFMTU, req))
		return -errno;
	if (req->ifr_mtu < DGRAM_MTU_MIN)
		return -EMSGSIZE;
	config->mtu = req->ifr_mtu < DGRAM_MTU_MAX ? (uint16_t)req->ifr_mtu : DGRAM_MTU_MAX;
	return 0;
}

static int bind_to(int fd, const char *name)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(DGRAM_ETHERTYPE) };
	struct dgram_config config = { .role = DGRAM_LISTENER };
	struct ifreq req = { 0 };
	int r;

	if (!name || strlen(name) >= sizeof(req.ifr_name))
		return -EINVAL;
	strcpy(req.ifr_name, name);
	if (ioctl(fd, SIOCGIFINDEX, &req))
		return -errno;
	addr.sll_ifindex = req.ifr_ifindex;
	r = read_iface(fd, &req, &config);
	if (r)
		return r;
	if (getrandom(&config.seed, sizeof(config.seed), 0) != sizeof(config.seed))
		return -EIO;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	return dgram_init(&stream, &config, clock_us());
}

static int packet_open(struct agent_link *l, const char *where)
{
	/* Protocol 0: no frame of another interface gets in before bind(). */
	int r, fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)l;
	if (fd < 0)
		return -errno;
	r = bind_to(fd, where);
	if (r) {
		close(fd);
		return r;
	}
	packet.fd = fd;
	packet.congested = false;
	return 0;
}

/* A full queue is not lost data: what was not sent is sent again. */
static int send_due(void)
{
	uint8_t frame[DGRAM_FRAME_MAX];
	size_t len;

	packet.congested = false;
	while ((len = dgram_output(&stream, frame, sizeof(frame), clock_us()))) {
		if (send(packet.fd, frame, len, MSG_DONTWAIT) >= 0)
			continue;
		if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
			return -errno;
		packet.congested = true;
		break;
	}
	return 0;
}

static int receive_all(void)
{
	uint8_t frame[DGRAM_FRAME_MAX];

	for (int i = 0; i < FRAMES_PER_CALL; i++) {
		ssize_t n = recv(packet.fd, frame, sizeof(frame), MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		dgram_input(&stream, frame, (size_t)n, clock_us());
	}
	return 0;
}

/* The stream's words in those of guest-agent/link.h. */
static ssize_t in_our_words(long r)
{
	if (r == -EAGAIN)
		return 0;
	if (r != -ECONNRESET && r != -ETIMEDOUT)
		return r;
	dgram_accept(&stream);
	return -ENOTCONN;
}

static ssize_t packet_read(struct agent_link *l, void *buf, size_t cap)
{
	int r = receive_all();
	long n;

	(void)l;
	if (r)
		return r;
	n = dgram_read(&stream, buf, cap);
	/* After reading, so that the answer tells of the room that made. */
	r = send_due();
	return r ? r : in_our_words(n);
}

static ssize_t packet_write(struct agent_link *l, const void *buf, size_t len)
{
	long n = dgram_write(&stream, buf, len);
	int r = n > 0 ? send_due() : 0;

	(void)l;
	return r ? r : in_our_words(n);
}

static void packet_close(struct agent_link *l)
{
	(void)l;
	if (packet.fd < 0)
		return;
	dgram_end(&stream);
	send_due();
	close(packet.fd);
	packet.fd = -1;
}

/* Room in the window shows by a frame that comes, never by the socket: that is always writable. */
static int packet_poll_fd(struct agent_link *l, short *events)
{
	(void)l;
	*events = POLLIN;
	return packet.fd;
}

static int packet_timeout_ms(struct agent_link *l)
{
	int64_t us = dgram_timeout_us(&stream, clock_us());

	(void)l;
	if (packet.congested && (us < 0 || us < CONGESTED_MS * 1000))
		return CONGESTED_MS;
	return us < 0 ? -1 : (int)((us + 999) / 1000);
}

static int packet_tick(struct agent_link *l)
{
	int r = send_due();

	(void)l;
	return r ? r : (int)in_our_words(stream.failed);
}

static const struct agent_link_ops packet_ops = {
	.name = "packet",
	.open = packet_open,
	.read = packet_read,
	.write = packet_write,
	.close = packet_close,
	.poll_fd = packet_poll_fd,
	.timeout_ms = packet_timeout_ms,
	.tick = packet_tick,
};

static struct packet_link packet = { .link = { .ops = &packet_ops }, .fd = -1 };

struct agent_link *const agent_link_packet = &packet.link;
