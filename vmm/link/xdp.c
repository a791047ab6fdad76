// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's frames on the tap of the guest's network card. A BPF program takes
 * them out where they leave the guest, before the host's network stack or a
 * bridge sees them, into AF_XDP sockets; what we send goes out of the tap straight
 * into the guest. Other frames pass as before. Must never wait, and never do more
 * per call for a guest that sends without end than for one that does not.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>

#include "protocol/dgram.h"
#include "vmm/link/rows.h"
#include "vmm/link/xdp_tap.h"

#define FRAMES_PER_TICK 64 /* a guest that sends without end gets no more of us than this */
#define CONGESTED_MS	10 /* until looking again whether the guest has taken our frames */

struct xdp_link {
	struct link link;
	struct xdp_tap tap;
	bool congested; /* the guest has not taken the frames we sent yet */
	struct dgram dgram;
};

static struct xdp_link *xdp_of(struct link *link)
{
	return container_of(link, struct xdp_link, link);
}

static const struct xdp_link *const_xdp_of(const struct link *link)
{
	return container_of(link, const struct xdp_link, link);
}

/* What the guest sends arrives on a tap, or on a veth that leads to it; nowhere else on a host. */
static bool iface_is_tap(const struct xdp_iface *iface)
{
	return !strcmp(iface->driver, "veth") || (!strcmp(iface->driver, "tun") && !strcmp(iface->bus, "tap"));
}

static int check_iface(const struct link_target *target, struct xdp_iface *iface, char *why, size_t cap)
{
	int r;

	/* Whose guest is behind a tap nobody can tell, and a program of ours there sees all frames of its guest. */
	if (target->has_user) {
		snprintf(why, cap, "a tap is root's alone to name, and the VM was registered by uid %u", target->user);
		return -EACCES;
	}
	if (!target->ifname || !target->has_mac) {
		snprintf(why, cap, "no tap and MAC address of the guest are known");
		return -EINVAL;
	}
	r = xdp_iface_read(target->ifname, iface);
	if (r) {
		snprintf(why, cap, "interface %.15s: %s", target->ifname, strerror(-r));
		return r;
	}
	if (!iface_is_tap(iface)) {
		snprintf(why, cap, "%s (%s) is not a tap: the guest's frames do not arrive there", target->ifname,
			 iface->driver[0] ? iface->driver : "no driver");
		return -ENOTTY;
	}
	if (iface->mtu < DGRAM_MTU_MIN) {
		snprintf(why, cap, "%s has an MTU of %u, less than %d", target->ifname, iface->mtu, DGRAM_MTU_MIN);
		return -EMSGSIZE;
	}
	return 0;
}

static int xdp_probe(const struct link_target *target, char *why, size_t cap)
{
	struct xdp_iface iface;

	if (check_iface(target, &iface, why, cap))
		return 0;
	if (!iface.up) {
		snprintf(why, cap, "%s is down", target->ifname);
		return 0;
	}
	return !xdp_tap_check(why, cap);
}

static int start_stream(struct xdp_link *x, const struct link_target *target, const struct xdp_iface *iface,
			struct err *e)
{
	struct dgram_config config = {
		.role = DGRAM_CALLER,
		.mtu = iface->mtu < DGRAM_MTU_MAX ? (uint16_t)iface->mtu : DGRAM_MTU_MAX,
	};

	memcpy(config.mac, iface->mac, DGRAM_MAC_LEN);
	memcpy(config.peer, target->mac, DGRAM_MAC_LEN);
	if (getrandom(&config.seed, sizeof(config.seed), 0) != sizeof(config.seed))
		return err_set(e, ERR_FAILED, errno, "xdp", "xdp: no random numbers: %s", strerror(errno));
	if (dgram_init(&x->dgram, &config, now_us()))
		return err_set(e, ERR_USAGE, EINVAL, "xdp", "xdp: a MAC address of %s or of its guest is not one station's",
			       target->ifname);
	return 0;
}

static int xdp_open(const struct link_target *target, struct link **ret, struct err *e)
{
	_cleanup_free_ struct xdp_link *x = calloc(1, sizeof(*x));
	char why[LINK_WHY_MAX];
	struct xdp_iface iface;
	int r = check_iface(target, &iface, why, sizeof(why));

	if (r)
		return err_set(e, ERR_REFUSED, -r, "xdp", "xdp: %s", why);
	if (!x)
		return err_set(e, ERR_FAILED, ENOMEM, "memory", "xdp: out of memory");
	x->link.ops = &link_xdp;
	r = start_stream(x, target, &iface, e);
	if (!r)
		r = xdp_tap_open(&x->tap, target->ifname, &iface, target->mac, e);
	if (r)
		return r;
	*ret = &TAKE_PTR(x)->link;
	return 0;
}

static int gone(int r, struct err *e)
{
	return err_set(e, ERR_INACTIVE, -r, "link", "xdp: the tap is gone or down: %s", strerror(-r));
}

static int send_due(struct xdp_link *x, struct err *e)
{
	struct xdp_socket *s = x->tap.queues[0];
	uint64_t now = now_us();
	uint8_t *frame;
	size_t len = 0;
	int r;

	while ((frame = xdp_socket_reserve(s)) && (len = dgram_output(&x->dgram, frame, XDP_FRAME_SIZE, now)))
		xdp_socket_send(s, len);
	r = xdp_socket_flush(s);
	x->congested = !frame || s->kick;
	return r ? gone(r, e) : 0;
}

static void xdp_close(struct link *link)
{
	struct xdp_link *x;

	if (!link)
		return;
	x = xdp_of(link);
	dgram_end(&x->dgram);
	send_due(x, NULL);
	xdp_tap_close(&x->tap);
	free(x);
}

static int xdp_fd(const struct link *link)
{
	return const_xdp_of(link)->tap.epoll_fd;
}

static short xdp_events(const struct link *link)
{
	(void)link;
	return POLLIN;
}

static int xdp_timeout_ms(const struct link *link)
{
	const struct xdp_link *x = const_xdp_of(link);
	int64_t us = dgram_timeout_us(&x->dgram, now_us());

	if (us < 0)
		return x->congested ? CONGESTED_MS : -1;
	if (x->congested && us < CONGESTED_MS * 1000)
		return CONGESTED_MS;
	return (int)((us + 999) / 1000);
}

static int xdp_tick(struct link *link, struct err *e)
{
	struct xdp_link *x = xdp_of(link);
	uint8_t frame[DGRAM_FRAME_MAX];
	uint64_t now = now_us();
	size_t len;

	for (unsigned int i = 0; i < x->tap.n_queues; i++)
		for (int n = 0; n < FRAMES_PER_TICK && (len = xdp_socket_receive(x->tap.queues[i], frame, sizeof(frame))); n++)
			dgram_input(&x->dgram, frame, len, now);
	return send_due(x, e);
}

static ssize_t stream_result(long r, struct err *e)
{
	if (r == -ECONNRESET)
		return err_set(e, ERR_INACTIVE, ECONNRESET, "link", "xdp: the agent ended the session");
	if (r == -ETIMEDOUT)
		return err_set(e, ERR_INACTIVE, ETIMEDOUT, "link", "xdp: no agent answers");
	return r;
}

static ssize_t xdp_read(struct link *link, void *buf, size_t cap, struct err *e)
{
	return stream_result(dgram_read(&xdp_of(link)->dgram, buf, cap), e);
}

static ssize_t xdp_write(struct link *link, const void *buf, size_t len, struct err *e)
{
	struct xdp_link *x = xdp_of(link);
	long done = dgram_write(&x->dgram, buf, len);
	int r = done > 0 ? send_due(x, e) : 0;

	return r ? r : stream_result(done, e);
}

static int xdp_stats(const struct link *link, struct link_stats *ret)
{
	const struct xdp_link *x = const_xdp_of(link);
	const struct dgram_counters *c = &x->dgram.counters;

	*ret = (struct link_stats){
		.rx_bytes = c->rx_bytes,
		.tx_bytes = c->tx_bytes,
		.rx_frames = c->rx_frames,
		.tx_frames = c->tx_frames,
		.retransmits = c->retransmits,
		.duplicates = c->duplicates,
		.dropped = c->dropped,
	};
	snprintf(ret->mode, sizeof(ret->mode), "%s", x->tap.native ? "native" : "skb");
	return 0;
}

const struct link_ops link_xdp = {
	.name = "xdp",
	.probe = xdp_probe,
	.open = xdp_open,
	.fd = xdp_fd,
	.events = xdp_events,
	.timeout_ms = xdp_timeout_ms,
	.tick = xdp_tick,
	.read = xdp_read,
	.write = xdp_write,
	.close = xdp_close,
	.stats = xdp_stats,
};
