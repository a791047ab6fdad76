// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * States of the conversation with an agent: down, greeting, ready; see session.h.
 * Every way out of "ready" ends the request under way first. Must never wait, and
 * must not let the guest choose how often anything is tried.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/link/session_private.h"

/* The request under way ends. It may begin another from done(). */
static void finish_call(struct agent_session *s, int result, const struct err *error)
{
	struct agent_call *c = s->call;

	if (!c)
		return;
	s->call = NULL;
	c->result = result;
	if (error)
		c->error = *error;
	c->done(c);
	c->payload = NULL;
}

static void fail_call(struct agent_session *s, int error, const char *text)
{
	struct err e = { 0 };

	err_set(&e, ERR_INACTIVE, error, "agent", "agent: %s", text);
	finish_call(s, -error, &e);
}

static void next_delay(struct agent_session *s, unsigned most_ms)
{
	s->due_us = now_us() + s->delay_ms * (uint64_t)1000;
	s->delay_ms = s->delay_ms * 2 < most_ms ? s->delay_ms * 2 : most_ms;
}

static void go_down(struct agent_session *s, int error)
{
	bool was_ready = s->state == AGENT_SESSION_READY;

	link_close(s->link);
	s->link = NULL;
	s->state = AGENT_SESSION_DOWN;
	s->out_len = s->out_sent = 0;
	s->partial_us = 0;
	if (was_ready)
		s->delay_ms = AGENT_REOPEN_FIRST_MS;
	next_delay(s, AGENT_REOPEN_LATER_MS);
	if (s->call)
		finish_call(s, error, &s->why);
}

/* A new nonce each time: what an agent said before proves nothing now. */
static void say_hello(struct agent_session *s)
{
	struct agent_hello_request m = { .min_version = AGENT_VERSION, .max_version = AGENT_VERSION,
					 .flags = s->has_key ? AGENT_HELLO_KEY : 0 };
	uint8_t payload[64];

	next_delay(s, AGENT_HELLO_LATER_MS);
	if (s->out_len) /* the last one is not even out: another would only queue up behind it */
		return;
	if (getrandom(s->nonce, sizeof(s->nonce), GRND_NONBLOCK) != sizeof(s->nonce))
		return;
	memcpy(m.nonce, s->nonce, sizeof(m.nonce));
	session_queue(s, AGENT_HELLO, payload, agent_hello_request_encode(payload, sizeof(payload), &m));
	s->stats.hellos++;
	s->hello_at_us = now_us();
}

static void greet(struct agent_session *s)
{
	s->state = AGENT_SESSION_GREETING;
	s->delay_ms = AGENT_HELLO_FIRST_MS;
	say_hello(s);
}

static void open_link(struct agent_session *s)
{
	struct link *link = NULL;
	struct err e = { 0 };

	if (s->ops->open(&s->target, &link, &e)) {
		s->why = e;
		next_delay(s, AGENT_REOPEN_LATER_MS);
		return;
	}
	s->link = link;
	s->stats.reopened++;
	s->garbage = 0;
	agent_decoder_init(&s->in);
	greet(s);
}

int session_garbage(struct agent_session *s, uint64_t bytes, struct err *e)
{
	s->garbage += bytes;
	if (s->garbage <= AGENT_GARBAGE_MAX)
		return 0;
	return err_set(e, ERR_FAILED, EPROTO, "agent", "the agent sends what nobody can read or asked for");
}

/* The agent said no. Text of the guest's is printable by now, and marked as its. */
static void refusal(const struct agent_frame *f, struct err *e)
{
	static const int number[AGENT_E_COUNT] = {
		[AGENT_E_VERSION] = EPROTONOSUPPORT, [AGENT_E_SESSION] = ESTALE,    [AGENT_E_AUTH] = EACCES,
		[AGENT_E_UNKNOWN_OP] = EOPNOTSUPP,   [AGENT_E_STATE] = EBUSY,	    [AGENT_E_MALFORMED] = EINVAL,
		[AGENT_E_UNAVAILABLE] = ENODATA,     [AGENT_E_LIMIT] = E2BIG,	    [AGENT_E_FAILED] = EIO,
	};
	struct agent_failure why = { 0 };
	int error = f->error < AGENT_E_COUNT && number[f->error] ? number[f->error] : EPROTO;

	if (agent_failure_decode(f->payload, f->length, &why))
		why.text[0] = '\0';
	err_set(e, ERR_REFUSED, error, "agent", "the agent refuses %s (%s): \"%s\"", agent_op_name(f->op),
		agent_error_name(f->error), why.text);
}

/* The answer to a hello is of this session when its MAC, made from both nonces, is right. */
static int check_key(struct agent_session *s, const struct agent_frame *f, const struct agent_hello *h, struct err *e)
{
	if (!s->has_key)
		return h->flags & AGENT_HELLO_KEY ?
			       err_set(e, ERR_REFUSED, EACCES, "agent", "the agent has a key and this host has none for it") :
			       0;
	if (!(h->flags & AGENT_HELLO_KEY))
		return err_set(e, ERR_REFUSED, EACCES, "agent", "the agent has no key; this host wants one");
	agent_session_key(s->session_key, s->key, s->nonce, h->nonce, f->session);
	if (!agent_frame_verify(f, s->session_key))
		return err_set(e, ERR_REFUSED, EACCES, "agent", "the agent does not have this VM's key");
	return 0;
}

/* An answer that is no good leaves us greeting, at our own pace. */
static void hello_answer(struct agent_session *s, const struct agent_frame *f)
{
	struct agent_hello h;
	struct err e = { 0 };

	if (f->flags & AGENT_F_ERROR) {
		refusal(f, &s->why);
		return;
	}
	if (agent_hello_decode(f->payload, f->length, &h) || h.version != AGENT_VERSION || !f->session) {
		err_set(&s->why, ERR_FAILED, EBADMSG, "agent", "the agent's hello makes no sense");
		return;
	}
	if (check_key(s, f, &h, &e)) {
		s->why = e;
		return;
	}
	if (s->generation && f->session != s->session)
		s->stats.restarts++;
	if (!s->generation || f->session != s->session)
		s->generation++;
	s->session = f->session;
	s->hello = h;
	s->state = AGENT_SESSION_READY;
	s->why = (struct err){ 0 };
	s->stats.hello_us = now_us() - s->hello_at_us;
}

static void call_answer(struct agent_session *s, const struct agent_frame *f)
{
	struct agent_call *c = s->call;
	struct err e = { 0 };

	if (f->flags & AGENT_F_ERROR) {
		refusal(f, &e);
		c->refused = f->error;
		/* It is another agent, or a hello of somebody else's came between: begin anew, the request is lost. */
		if (f->error == AGENT_E_SESSION || f->error == AGENT_E_AUTH)
			greet(s);
		finish_call(s, -e.error, &e);
		return;
	}
	c->payload = f->payload;
	c->length = f->length;
	finish_call(s, 0, NULL);
}

int session_answer(struct agent_session *s, const struct agent_frame *f, struct err *e)
{
	uint64_t size = AGENT_HEADER_LEN + f->length;
	bool stale = f->flags & AGENT_F_ERROR && f->error == AGENT_E_SESSION;

	if (s->state == AGENT_SESSION_GREETING && f->op == AGENT_HELLO) {
		hello_answer(s, f);
		return s->state == AGENT_SESSION_READY ? 0 : session_garbage(s, size, e);
	}
	if (s->state != AGENT_SESSION_READY || !s->call || f->op != s->call_op)
		return session_garbage(s, size, e);
	/* An agent just started has no session key: its "who are you" cannot carry a MAC, and is only a hint to greet. */
	if (!stale && (f->session != s->session || (s->has_key && !agent_frame_verify(f, s->session_key))))
		return session_garbage(s, size, e);
	call_answer(s, f);
	return 0;
}

int agent_session_new(const struct agent_session_config *config, struct agent_session **ret, struct err *e)
{
	_cleanup_(agent_session_free) struct agent_session *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	s->ops = config->ops;
	s->target = *config->target;
	s->has_key = config->key;
	if (config->key)
		memcpy(s->key, config->key, sizeof(s->key));
	/* Answers to a host before us have other numbers. */
	if (getrandom(&s->seq, sizeof(s->seq), GRND_NONBLOCK) != sizeof(s->seq))
		return err_set(e, ERR_FAILED, errno, NULL, "no random numbers: %s", strerror(errno));
	s->delay_ms = AGENT_REOPEN_FIRST_MS;
	open_link(s);
	agent_session_run(s);
	*ret = TAKE_PTR(s);
	return 0;
}

void agent_session_free(struct agent_session *s)
{
	if (!s)
		return;
	fail_call(s, ECANCELED, "the conversation was ended");
	link_close(s->link);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

int agent_session_fd(const struct agent_session *s)
{
	return s->link ? s->ops->fd(s->link) : -1;
}

short agent_session_events(const struct agent_session *s)
{
	if (!s->link)
		return 0;
	return (short)(s->ops->events(s->link) | POLLIN | (s->out_len ? POLLOUT : 0));
}

static int earlier(int ms, uint64_t at_us, uint64_t now)
{
	uint64_t left = at_us > now ? (at_us - now + 999) / 1000 : 0;

	return ms < 0 || left < (uint64_t)ms ? (int)left : ms;
}

int agent_session_timeout_ms(const struct agent_session *s)
{
	int ms = s->link ? s->ops->timeout_ms(s->link) : -1;
	uint64_t now = now_us();

	if (s->state != AGENT_SESSION_READY)
		ms = earlier(ms, s->due_us, now);
	if (s->call)
		ms = earlier(ms, s->call_us, now);
	if (s->partial_us)
		ms = earlier(ms, s->partial_us, now);
	return ms;
}

/* A silent agent may be dead, or another by now: a hello tells. */
static void call_timeout(struct agent_session *s)
{
	s->stats.timeouts++;
	s->out_len = s->out_sent ? s->out_len : 0; /* half a frame must be finished, a whole one may be taken back */
	err_set(&s->why, ERR_TIMEOUT, ETIMEDOUT, "agent", "the agent did not answer %s in time",
		agent_op_name(s->call_op));
	struct err e = s->why;
	greet(s);
	finish_call(s, -ETIMEDOUT, &e);
}

void agent_session_run(struct agent_session *s)
{
	struct err e = { 0 };

	if (s->state == AGENT_SESSION_DOWN && now_us() >= s->due_us)
		open_link(s);
	if (s->state == AGENT_SESSION_DOWN)
		return;
	int r = session_exchange(s, &e);
	if (r) {
		s->why = e;
		go_down(s, r);
		return;
	}
	if (s->state == AGENT_SESSION_GREETING && now_us() >= s->due_us)
		say_hello(s);
	if (s->call && now_us() >= s->call_us)
		call_timeout(s);
	r = s->out_len ? session_exchange(s, &e) : 0;
	if (r) {
		s->why = e;
		go_down(s, r);
	}
}

enum agent_session_state agent_session_state(const struct agent_session *s)
{
	return s->state;
}

const struct agent_hello *agent_session_hello(const struct agent_session *s)
{
	return s->state == AGENT_SESSION_READY ? &s->hello : NULL;
}

unsigned agent_session_generation(const struct agent_session *s)
{
	return s->generation;
}

bool agent_session_authenticated(const struct agent_session *s)
{
	return s->state == AGENT_SESSION_READY && s->has_key;
}

const struct err *agent_session_why(const struct agent_session *s)
{
	return &s->why;
}

void agent_session_stats(const struct agent_session *s, struct agent_session_stats *ret)
{
	*ret = s->stats;
}

int agent_session_send(struct agent_session *s, enum agent_op op, const void *payload, size_t length,
		       unsigned timeout_ms, struct agent_call *c, struct err *e)
{
	if (s->state != AGENT_SESSION_READY)
		return err_set(e, ERR_INACTIVE, ENOTCONN, "agent", "no agent answers in this guest%s%s",
			       s->why.text[0] ? ": " : "", s->why.text);
	if (s->call || s->out_len)
		return err_set(e, ERR_FAILED, EBUSY, "agent", "the agent is asked something else already");
	if (op >= 32 || !(s->hello.ops & 1u << op))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "agent", "this agent does not know \"%s\"", agent_op_name(op));
	if (session_queue(s, op, payload, length))
		return err_set(e, ERR_FAILED, EMSGSIZE, "agent", "a request of %zu bytes is too large", length);
	c->result = 0;
	c->refused = AGENT_E_NONE;
	c->error = (struct err){ 0 };
	c->payload = NULL;
	c->length = 0;
	s->call = c;
	s->call_op = op;
	s->call_us = now_us() + timeout_ms * (uint64_t)1000;
	s->stats.requests++;
	return 0;
}
