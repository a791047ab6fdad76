/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's conversation with the agent of its guest, over any link: finds out
 * whether one is there, agrees with it, carries one request at a time, notices
 * that it died or was started anew, and begins again by itself. It never waits:
 * poll its fd and time-out, then call agent_session_run(). The exception says so:
 * agent_session_ask().
 *
 * The agent is the guest and hostile. What it says is bounded and checked for
 * form; whether it is true is for the caller to judge, who must be able to do
 * without. The worst an agent can do is to be no use.
 */
#ifndef VMPOKE_VMM_LINK_SESSION_H
#define VMPOKE_VMM_LINK_SESSION_H

#include "protocol/agent_msg.h"
#include "vmm/link/link.h"

#define AGENT_HELLO_FIRST_MS	500u   /* a hello without an answer is said again after this, ... */
#define AGENT_HELLO_LATER_MS	10000u /* ... the time doubling up to this */
#define AGENT_REOPEN_FIRST_MS	100u   /* the same for a link that broke or was not there */
#define AGENT_REOPEN_LATER_MS	10000u
#define AGENT_GARBAGE_MAX	262144u /* bytes that are no frame, or frames nobody asked for, before the link is closed */
#define AGENT_RUN_MAX		65536u	/* bytes read by one agent_session_run() */

enum agent_session_state {
	AGENT_SESSION_DOWN,	/* no link */
	AGENT_SESSION_GREETING, /* hello was said; perhaps nobody is there */
	AGENT_SESSION_READY,
};

struct agent_session;

struct agent_session_config {
	const struct link_ops *ops;	  /* from link_choose() */
	const struct link_target *target; /* what it points to must outlive the session */
	const uint8_t *key;		  /* AGENT_KEY_LEN bytes of this VM, copied; NULL: without authentication */
};

/* Begins at once, waits for nothing; a link that does not open is tried again. 0 or -ENOMEM, -errno of getrandom. */
int agent_session_new(const struct agent_session_config *config, struct agent_session **ret, struct err *e);
/* A request under way ends with -ECANCELED. */
void agent_session_free(struct agent_session *s);
DEFINE_CLEANUP(struct agent_session, agent_session_free)

/* -1: no link, only the time-out counts. It changes over time: ask before each poll. */
int agent_session_fd(const struct agent_session *s);
short agent_session_events(const struct agent_session *s);
/* ms; -1: no time-out. */
int agent_session_timeout_ms(const struct agent_session *s);
/* Does all that is due, at most AGENT_RUN_MAX bytes of it. May call done() of the request under way. */
void agent_session_run(struct agent_session *s);

enum agent_session_state agent_session_state(const struct agent_session *s);
/* What the agent said of itself; NULL unless ready. Valid until the next run. */
const struct agent_hello *agent_session_hello(const struct agent_session *s);
/* Counts the agents seen: a change means that it was started anew and has forgotten everything. 0: none yet. */
unsigned agent_session_generation(const struct agent_session *s);
/* Whether both ends proved to have the key. */
bool agent_session_authenticated(const struct agent_session *s);
/* Why it is not ready; kind ERR_NONE when nothing is known. */
const struct err *agent_session_why(const struct agent_session *s);

/* A request, owned by the caller until done() was called. */
struct agent_call {
	/* Called once, from agent_session_run() or agent_session_free(); may begin the next request. */
	void (*done)(struct agent_call *c);
	/* The result: 0, or -errno and *error. -ETIMEDOUT, -ESTALE (started anew), -ECONNRESET, -EBADMSG, -EACCES, or as refused. */
	int result;
	enum agent_error refused; /* by the agent, else AGENT_E_NONE */
	struct err error;
	const uint8_t *payload; /* until done() returns */
	size_t length;
};

/*
 * Sends a request. 0: done() will be called. -ENOTCONN not ready, -EBUSY one is under
 * way, -EMSGSIZE, -EOPNOTSUPP this agent does not know the operation.
 */
int agent_session_send(struct agent_session *s, enum agent_op op, const void *payload, size_t length,
		       unsigned timeout_ms, struct agent_call *c, struct err *e);

/* Polls until the session is ready: 0, or -ETIMEDOUT and why. */
int agent_session_wait_ready(struct agent_session *s, unsigned timeout_ms, struct err *e);

/*
 * Sends a request and polls until it is answered or timed out. The answer is copied
 * to reply (cap bytes; -EMSGSIZE when larger), its length returned, or -errno as in struct agent_call.
 */
ssize_t agent_session_ask(struct agent_session *s, enum agent_op op, const void *payload, size_t length, void *reply,
			  size_t cap, unsigned timeout_ms, struct err *e);

struct agent_session_stats {
	uint64_t hellos, requests, timeouts, restarts, reopened, damaged, skipped, unexpected;
	uint64_t hello_us; /* from the hello to its answer, the last time */
};
void agent_session_stats(const struct agent_session *s, struct agent_session_stats *ret);

#endif
