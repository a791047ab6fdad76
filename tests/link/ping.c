// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's end of the tests of links: sends through a link of vmm/link what
 * link-echo gives back, checks every byte, and measures.
 *   link-ping LINK [--socket PATH] [--cid N --port N] [--tap IFNAME --mac MAC]
 *             [--count N] [--size BYTES] [--bulk BYTES] [--hold SECONDS] [--probe]
 * --count round trips of --size bytes, one at a time; then --bulk bytes at once;
 * then the session is held open. One line each, "WHAT NAME=VALUE...". LINK "raw"
 * needs --tap: bare frames through AF_PACKET, no stream. Exit 1: lost, wrong or late.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "vmm/link/link.h"

#define LIMIT_US      120000000 /* without any byte of progress */
#define RAW_ETHERTYPE 0x88b6
#define RAW_HEADER    14
#define SIZE_MAX_	      65536

struct options {
	struct link_target target;
	const char *link;
	unsigned long count, size, bulk, hold;
	bool probe;
};

/* The stream's byte n: no two places look alike for long. */
static char byte_at(uint64_t n)
{
	return (char)(n * 2654435761u >> 21);
}

static int fail(struct err *e, const char *what)
{
	fprintf(stderr, "link-ping: %s%s%s\n", what, e && e->text[0] ? ": " : "", e ? e->text : "");
	return 1;
}

struct stream {
	struct link *link;
	uint64_t sent, got, progress_us;
};

static int wait_and_tick(struct stream *s, bool more_to_send, struct err *e)
{
	const struct link_ops *ops = s->link->ops;
	struct pollfd pfd = { .fd = ops->fd(s->link), .events = ops->events(s->link) };
	int ms = ops->timeout_ms(s->link);

	if (more_to_send)
		pfd.events |= POLLIN;
	poll(&pfd, 1, ms < 0 || ms > 1000 ? 1000 : ms);
	return ops->tick(s->link, e);
}

static int take(struct stream *s, struct err *e)
{
	char buf[16384];
	ssize_t n;

	while ((n = s->link->ops->read(s->link, buf, sizeof(buf), e)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != byte_at(s->got++))
				return fail(NULL, "a wrong byte came back");
		s->progress_us = now_us();
	}
	return n == -EAGAIN ? 0 : fail(e, n ? "read" : "closed by the guest");
}

static int give(struct stream *s, uint64_t upto, struct err *e)
{
	char buf[16384];
	size_t len = upto - s->sent < sizeof(buf) ? upto - s->sent : sizeof(buf);
	ssize_t n;

	if (!len)
		return 0;
	for (size_t i = 0; i < len; i++)
		buf[i] = byte_at(s->sent + i);
	n = s->link->ops->write(s->link, buf, len, e);
	if (n < 0 && n != -EAGAIN)
		return fail(e, "write");
	if (n > 0)
		s->sent += (uint64_t)n;
	return 0;
}

/* Sends and gets back everything up to there. */
static int exchange(struct stream *s, uint64_t upto)
{
	struct err e = { 0 };

	s->progress_us = now_us();
	while (s->got < upto) {
		if (give(s, upto, &e))
			return 1;
		if (wait_and_tick(s, s->sent < upto, &e))
			return fail(&e, "tick");
		if (take(s, &e))
			return 1;
		if (now_us() - s->progress_us > LIMIT_US)
			return fail(NULL, "nothing came back in time");
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_rtt(const char *name, uint64_t *us, size_t n, unsigned long size)
{
	if (!n)
		return;
	qsort(us, n, sizeof(*us), compare);
	printf("rtt link=%s count=%zu size=%lu min_us=%llu median_us=%llu p99_us=%llu max_us=%llu\n", name, n, size,
	       (unsigned long long)us[0], (unsigned long long)us[n / 2], (unsigned long long)us[n * 99 / 100],
	       (unsigned long long)us[n - 1]);
	fflush(stdout);
}

static int round_trips(struct stream *s, const struct options *o)
{
	_cleanup_free_ uint64_t *us = calloc(o->count + 1, sizeof(*us));

	if (!us)
		return fail(NULL, "out of memory");
	for (unsigned long i = 0; i < o->count; i++) {
		uint64_t start = now_us();
		if (exchange(s, s->sent + o->size))
			return 1;
		us[i] = now_us() - start;
	}
	print_rtt(o->link, us, o->count, o->size);
	return 0;
}

static int bulk(struct stream *s, const struct options *o)
{
	uint64_t start = now_us(), us;

	if (!o->bulk)
		return 0;
	if (exchange(s, s->sent + o->bulk))
		return 1;
	us = now_us() - start;
	printf("bulk link=%s bytes=%lu us=%llu\n", o->link, o->bulk, (unsigned long long)us);
	fflush(stdout);
	return 0;
}

static int hold(struct stream *s, const struct options *o)
{
	uint64_t end = now_us() + o->hold * 1000000;
	struct err e = { 0 };

	while (now_us() < end)
		if (wait_and_tick(s, false, &e) || take(s, &e))
			return fail(&e, "while held open");
	return 0;
}

static void print_stats(const struct stream *s)
{
	struct link_stats st;

	s->link->ops->stats(s->link, &st);
	printf("stats mode=%s rx_bytes=%llu tx_bytes=%llu rx_frames=%llu tx_frames=%llu retransmits=%llu "
	       "duplicates=%llu dropped=%llu\n",
	       st.mode[0] ? st.mode : "-", (unsigned long long)st.rx_bytes, (unsigned long long)st.tx_bytes,
	       (unsigned long long)st.rx_frames, (unsigned long long)st.tx_frames, (unsigned long long)st.retransmits,
	       (unsigned long long)st.duplicates, (unsigned long long)st.dropped);
}

static int over_link(const struct options *o)
{
	const struct link_ops *ops = link_find(o->link);
	_cleanup_(link_close) struct link *link = NULL;
	char why[LINK_WHY_MAX] = "";
	struct err e = { 0 };

	if (!ops)
		return fail(NULL, "no such link");
	if (ops->probe(&o->target, why, sizeof(why)) <= 0 || o->probe) {
		printf("probe link=%s usable=%d %s\n", o->link, !why[0], why);
		return o->probe ? 0 : 3;
	}
	if (ops->open(&o->target, &link, &e))
		return fail(&e, "open");
	struct stream s = { .link = link };
	printf("open link=%s\n", o->link);
	fflush(stdout);
	int r = round_trips(&s, o) || bulk(&s, o) || hold(&s, o);
	print_stats(&s);
	return r;
}

/* One bare frame to the guest and back. */
static int raw_round_trip(int fd, uint8_t *frame, size_t len)
{
	uint8_t got[2048];
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	if (send(fd, frame, len, 0) < 0)
		return -errno;
	for (;;) {
		if (poll(&pfd, 1, 1000) <= 0)
			return -ETIMEDOUT;
		ssize_t n = recv(fd, got, sizeof(got), 0);
		if (n >= (ssize_t)len && !memcmp(got, frame + 6, 6) && !memcmp(got + RAW_HEADER, frame + RAW_HEADER, len - RAW_HEADER))
			return 0;
	}
}

static int over_raw(const struct options *o)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(RAW_ETHERTYPE) };
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	_cleanup_free_ uint64_t *us = calloc(o->count + 1, sizeof(*us));
	uint8_t frame[2048] = { [12] = RAW_ETHERTYPE >> 8, [13] = RAW_ETHERTYPE & 0xff };
	struct ifreq req = { 0 };
	size_t n = 0, lost = 0;

	if (!us || fd < 0 || !o->target.ifname || o->size > 1400)
		return fail(NULL, "raw: needs --tap, CAP_NET_RAW and at most 1400 bytes");
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", o->target.ifname);
	addr.sll_ifindex = (int)if_nametoindex(req.ifr_name);
	if (ioctl(fd, SIOCGIFHWADDR, &req) || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fail(NULL, strerror(errno));
	memcpy(frame, o->target.mac, 6);
	memcpy(frame + 6, req.ifr_hwaddr.sa_data, 6);
	for (unsigned long i = 0; i < o->count; i++) {
		uint64_t start = now_us();
		for (size_t b = 0; b < o->size; b++)
			frame[RAW_HEADER + b] = (uint8_t)byte_at(i * o->size + b);
		if (raw_round_trip(fd, frame, RAW_HEADER + o->size))
			lost++;
		else
			us[n++] = now_us() - start;
	}
	print_rtt("raw", us, n, o->size);
	return lost ? fail(NULL, "frames were lost") : 0;
}

static int parse_mac(const char *text, uint8_t mac[LINK_MAC_LEN])
{
	char end;

	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%c", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5],
		      &end) == 6 ? 0 : -EINVAL;
}

static int parse(int argc, char **argv, struct options *o)
{
	enum { SOCKET = 1, CID, PORT, TAP, MAC, COUNT, SIZE, BULK, HOLD, PROBE };
	static const struct option options[] = {
		{ "socket", 1, 0, SOCKET }, { "cid", 1, 0, CID },     { "port", 1, 0, PORT }, { "tap", 1, 0, TAP },
		{ "mac", 1, 0, MAC },	    { "count", 1, 0, COUNT }, { "size", 1, 0, SIZE }, { "bulk", 1, 0, BULK },
		{ "hold", 1, 0, HOLD },	    { "probe", 0, 0, PROBE }, { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) > 0) {
		unsigned long number = optarg ? strtoul(optarg, NULL, 0) : 0;
		switch (c) {
		case SOCKET: o->target.socket = optarg; break;
		case CID: o->target.cid = (uint32_t)number; break;
		case PORT: o->target.port = (uint32_t)number; break;
		case TAP: o->target.ifname = optarg; break;
		case MAC:
			o->target.has_mac = true;
			if (parse_mac(optarg, o->target.mac))
				return -EINVAL;
			break;
		case COUNT: o->count = number; break;
		case SIZE: o->size = number; break;
		case BULK: o->bulk = number; break;
		case HOLD: o->hold = number; break;
		case PROBE: o->probe = true; break;
		default: return -EINVAL;
		}
	}
	if (optind + 1 != argc || !o->size || o->size > SIZE_MAX_)
		return -EINVAL;
	o->link = argv[optind];
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .target = LINK_TARGET_NONE, .size = 64 };

	if (parse(argc, argv, &o)) {
		fprintf(stderr, "usage: see tests/link/ping.c\n");
		return 2;
	}
	return strcmp(o.link, "raw") ? over_link(&o) : over_raw(&o);
}
