/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What poke_run() is told of its guest's contexts during one change: the scan of the stacks, and
 * where --agent-use full was asked for and the agent parks a thread, the borrowed context (vmm/borrow): text_mutex
 * is held from before the last look at the old bytes until the new ones were read back, and
 * tasks can be waited for. Whatever of it cannot be had is told in the reply, and the change is made as without.
 */
#ifndef VMPOKE_VMM_WORKER_AGENT_USE_H
#define VMPOKE_VMM_WORKER_AGENT_USE_H

#include <jansson.h>

#include "vmm/borrow/borrow.h"
#include "vmm/guest/sites.h"
#include "protocol/util.h"
#include "vmm/poke/poke.h"

struct session;
struct agent_session;

struct agent_use {
	struct poke_quiesce ops; /* for poke_run() */
	struct session *session;
	struct guest_patching patching; /* of a plan with data sites */
	const struct poke_plan *plan;	/* borrowed, while it is carried out */
	bool wanted;			/* agent-use is full */
	struct agent_session *agent;	/* a thread of it is parked; NULL: none */
	uint64_t nonce[2];
	struct borrow *borrow;	  /* NULL: nothing is borrowed now */
	bool text_mutex;	  /* was held */
	char why[256];		  /* why not */
	uint64_t longest_stop_us; /* of the VM, by what was borrowed */
};

/* "agent-use": is it a word we know? -EINVAL (ERR_USAGE). */
int agent_use_check_words(json_t *args, struct err *e);
bool agent_use_is(json_t *args, const char *word);

/*
 * Before the first record of a change. On a backend that traps live text_mutex is held when it returns: -ETIMEDOUT
 * (ERR_TIMEOUT, rule "guest-poking") when the guest's kernel had it until deadline_us. Nothing is left to end then.
 */
int agent_use_begin(struct agent_use *u, struct session *s, json_t *args, const struct poke_plan *plan,
		    uint64_t deadline_us, struct err *e);
/* Right after poke_run(), before backend or guest may go away. */
void agent_use_end(struct agent_use *u);

/* "quiescence", "text_mutex", "text_mutex_why" of the reply. */
void agent_use_add_json(const struct agent_use *u, bool needs_quiescence, const struct poke_stats *stats, json_t *o);

/* agent_use_stop.c: poke_quiesce.pause, resume and let_run on a backend that stops at traps. */
void agent_use_stop_ops(struct agent_use *u);

/* Between the two files: begins to borrow and takes text_mutex; when that fails nothing is borrowed. */
int agent_use_lock(struct agent_use *u, struct backend_pause_hook *hook, uint64_t deadline_us, struct err *e);
/* Is the change to be given up because of it, or made without? */
bool agent_use_is_fatal(int r, const struct err *e);
#define AGENT_USE_COME_US 3000000u /* for the thread to come to its syscall; under load it was seen to take 160 ms */
/* Of the time until a deadline; 1 when it is over, as 0 would wait for nothing at all. */
static inline uint64_t agent_use_left_us(uint64_t deadline_us)
{
	uint64_t now = now_us();

	return deadline_us > now ? deadline_us - now : 1;
}
/* Keeps why text_mutex is not held. */
void agent_use_without(struct agent_use *u, const char *why);
/* Ends what is borrowed; on a backend that stops the VM runs on then. */
int agent_use_return(struct agent_use *u, struct err *e);

#endif
