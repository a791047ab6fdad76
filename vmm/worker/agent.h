/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent of the worker's guest: where it is, the conversation with it, and what the
 * worker may make of it. It can make the worker refuse or warn; whatever it says or
 * fails to say, nothing is ever written because of it.
 */
#ifndef VMPOKE_VMM_WORKER_AGENT_H
#define VMPOKE_VMM_WORKER_AGENT_H

#include <jansson.h>
#include <poll.h>

#include "protocol/agent_addr.h"
#include "vmm/link/session.h"

struct session;
struct patch_record;
struct poke_plan;

#define WORKER_AGENT_KNOWN_MAX 256 /* addresses of symbols an agent need not be asked again about */

/* Part of struct session; zeroed: no agent is known. */
struct worker_agent {
	char address[AGENT_ADDR_TEXT_MAX]; /* as it was given; "port": of our own machine; "": none */
	struct agent_addr addr;
	struct link_target target;
	struct agent_session *session; /* NULL: not begun, see why */
	const struct link_ops *ops;    /* of the session */
	struct err why;
	unsigned generation;	       /* of the agent that vouched for ... */
	uint64_t known[WORKER_AGENT_KNOWN_MAX]; /* ... these symbols */
	size_t n_known;
	bool awaited; /* the first answer of this session was waited for once */
};

/* Takes the address ("none": none) while no conversation is under way. -EINVAL (ERR_USAGE). */
int worker_agent_configure(struct session *s, const char *address, struct err *e);

/* Begins the conversation where it has not begun and there is a way; never waits for the guest. */
void worker_agent_start(struct session *s);
/* Forgets it: the guest is another by now, or out of reach. */
void worker_agent_stop(struct session *s);

/* What to poll for (fd -1: nothing); lowers *timeout_ms (-1: none) to when worker_agent_run() has something to do. */
void worker_agent_poll(const struct session *s, struct pollfd *ret, int *timeout_ms);
void worker_agent_run(struct session *s);

/* "none", "off", "silent", "ready": as query-agent has them. */
const char *worker_agent_state(const struct session *s);

/*
 * The conversation with an agent that answered a ping just now, for agent_ask_*(); or NULL and why
 * (kept in *why). Waits for at most half a second, and for one that never answered only once.
 */
struct agent_session *worker_agent_ready(struct session *s, struct err *why);

/* Does it tell of the kernel we found in memory (session_guest() came before)? When not, about what not. */
bool worker_agent_agrees(const struct session *s, const struct agent_hello *h, char *why, size_t cap);

/* A string of the guest's for JSON: printable ASCII stays, the rest becomes '?'. */
json_t *worker_agent_text(const char *text);

/* The "agent" member of vm-probe. New reference. */
json_t *worker_agent_json(struct session *s);

/*
 * Asks the agent about the sites of a plan, within half of the request's time and 5 s: are the symbols
 * where we think they are, does anything else in the guest write there? 0: *ret is the "agent" member of
 * the reply (NULL: no agent is known, or nothing to ask about). -EPERM, -EBUSY (ERR_REFUSED):
 * rules "agent-symbols", "kprobe", "traced", "livepatch".
 */
int worker_agent_check(struct session *s, json_t *args, const struct poke_plan *plan, json_t **ret, struct err *e);

/* Adds to a refusal that names a place what the agent knows of that place. */
void worker_agent_explain(struct session *s, json_t *args, struct err *e);

/*
 * What the guest sees where a patch was written: appends to differences each site at which that is not
 * the patch. 0, or -errno with *e when the agent does not answer (differences may then lack some).
 */
int worker_agent_verify(struct agent_session *agent, const struct patch_record *p, uint64_t deadline_us,
			json_t *differences, struct err *e);

#endif
