// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's loop: bytes in, one request at a time, bytes out. The next request
 * is looked at when the last answer is out, so a host that does not read costs
 * nothing. Must never wait: main() polls, tests do as they like.
 */
#include "guest-agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

uint64_t agent_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Need not be secret, only different from the last process's; early in boot the kernel may have no randomness yet. */
static uint64_t session_number(void)
{
	uint64_t n = 0;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n) || !n) {
		struct timespec ts;
		unsigned long at = getauxval(AT_RANDOM);
		if (at)
			memcpy(&n, (const uint8_t *)at, sizeof(n));
		clock_gettime(CLOCK_MONOTONIC, &ts);
		n ^= (uint64_t)ts.tv_nsec << 32 ^ (uint64_t)ts.tv_sec << 16 ^ (uint64_t)getpid();
	}
	return n ? n : 1;
}

int agent_init(struct agent *a, struct agent_link *link, const char *where, const struct agent_roots *roots,
	       const uint8_t *key)
{
	a->link = link;
	a->where = where;
	a->roots = *roots;
	a->has_key = key;
	if (key)
		memcpy(a->key, key, sizeof(a->key));
	a->session = session_number();
	a->started_at = agent_now_ms();
	a->lines.fd = -1;
	agent_decoder_init(&a->in);
	return park_init(&a->park);
}

/* The host left, or another came: nothing of before counts. */
static void forget_peer(struct agent *a)
{
	uint64_t skipped = a->in.skipped, damaged = a->in.damaged, frames = a->in.frames;

	agent_decoder_init(&a->in);
	a->in.skipped = skipped;
	a->in.damaged = damaged;
	a->in.frames = frames;
	a->partial_at = 0;
	a->out_len = a->out_sent = 0;
	a->greeted = a->keyed = false;
	park_end(&a->park, AGENT_PARK_HOST_GONE, 0);
}

static int try_open(struct agent *a)
{
	if (agent_now_ms() < a->reopen_at)
		return 0;
	int r = a->link->ops->open(a->link, a->where);
	a->opened = r == 0;
	if (r == 0)
		return 0;
	a->reopen_at = agent_now_ms() + AGENT_REOPEN_MS;
	return r == -ENOENT || r == -ENODEV || r == -EBUSY ? 0 : r;
}

/* 0: go on; 1: nothing more to be done now. */
static int after(struct agent *a, ssize_t n)
{
	if (n >= 0)
		return n == 0;
	forget_peer(a);
	if (n == -ENOTCONN)
		return 0;
	a->link->ops->close(a->link);
	a->opened = false;
	a->reopen_at = agent_now_ms() + AGENT_REOPEN_MS;
	return 1;
}

static int send_some(struct agent *a)
{
	ssize_t n = a->link->ops->write(a->link, a->out + a->out_sent, a->out_len - a->out_sent);

	if (n > 0) {
		a->out_sent += (size_t)n;
		if (a->out_sent == a->out_len)
			a->out_len = a->out_sent = 0;
	}
	return after(a, n);
}

static int receive_some(struct agent *a)
{
	uint8_t *p;
	size_t space = agent_decoder_space(&a->in, &p);
	ssize_t n = a->link->ops->read(a->link, p, space);

	if (n > 0) {
		agent_decoder_fed(&a->in, (size_t)n);
		a->partial_at = agent_now_ms();
	}
	return after(a, n);
}

/* True: a request was answered, or bytes were dropped and there may be one. */
static bool take_frame(struct agent *a)
{
	struct agent_frame f;

	if (agent_decoder_next(&a->in, &f)) {
		if (!(f.flags & AGENT_F_REPLY))
			agent_dispatch(a, &f);
		return true;
	}
	if (!agent_decoder_partial(&a->in))
		a->partial_at = 0;
	if (!a->partial_at || agent_now_ms() - a->partial_at < AGENT_FRAME_TIMEOUT_MS)
		return false;
	agent_decoder_expire(&a->in);
	return true;
}

static void tick(struct agent *a)
{
	int r = 0;

	if (a->link->ops->tick && a->link->ops->timeout_ms(a->link) == 0)
		r = a->link->ops->tick(a->link);
	if (r < 0)
		after(a, r);
}

int agent_pump(struct agent *a)
{
	if (!a->opened) {
		int r = try_open(a);
		if (r < 0 || !a->opened)
			return r;
	}
	tick(a);
	for (int done = 0; a->opened && !done;) {
		if (a->out_sent < a->out_len)
			done = send_some(a);
		else if (!take_frame(a))
			done = receive_some(a);
	}
	return 0;
}

int agent_poll_fd(struct agent *a, short *events)
{
	*events = (short)(POLLIN | (a->out_len ? POLLOUT : 0));
	return a->opened ? a->link->ops->poll_fd(a->link, events) : -1;
}

static int sooner(int a, int b)
{
	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	return a < b ? a : b;
}

static int until(uint64_t at)
{
	uint64_t now = agent_now_ms();

	return at > now ? (int)(at - now) : 0;
}

int agent_timeout(struct agent *a)
{
	int ms = -1;

	if (!a->opened)
		return until(a->reopen_at);
	if (a->partial_at)
		ms = until(a->partial_at + AGENT_FRAME_TIMEOUT_MS);
	return sooner(ms, a->link->ops->timeout_ms(a->link));
}
