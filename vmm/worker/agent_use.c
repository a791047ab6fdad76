// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The borrowed context around one change; see agent_use.h. The agent is asked to park before
 * anything is stopped and to unpark after everything runs; in between only the kernel's
 * own functions are waited for, with a deadline. Must never let a change depend on what the agent says.
 */
#include "vmm/worker/agent_use.h"

#include <errno.h>
#include <string.h>

#include "vmm/worker/agent.h"
#include "vmm/worker/agent_park.h"
#include "vmm/worker/probes.h"
#include "vmm/worker/session.h"
#include "vmm/worker/stacks.h"

#define INTERVAL_MS  1u
#define PARK_MORE_MS 3000u    /* than the change may take */

bool agent_use_is(json_t *args, const char *word)
{
	const char *use = json_string_value(json_object_get(args, "agent-use"));

	return use && strcmp(use, word) == 0;
}

int agent_use_check_words(json_t *args, struct err *e)
{
	const char *use = json_string_value(json_object_get(args, "agent-use"));

	if (!use || agent_use_is(args, "none") || agent_use_is(args, "facts") || agent_use_is(args, "full"))
		return 0;
	return err_set(e, ERR_USAGE, EINVAL, NULL, "'agent-use' must be full, facts or none, not '%s'", use);
}

void agent_use_without(struct agent_use *u, const char *why)
{
	u->text_mutex = false;
	snprintf(u->why, sizeof(u->why), "%s", why);
}

/* --- the agent's thread --- */

static int park(struct agent_use *u, uint64_t deadline_us, struct err *e)
{
	uint64_t ms = agent_use_left_us(deadline_us) / 1000 + PARK_MORE_MS;

	return agent_park(u->session, INTERVAL_MS, ms, u->nonce, &u->agent, e);
}

static void unpark(struct agent_use *u)
{
	if (u->agent)
		agent_unpark(u->agent);
	u->agent = NULL;
}

/* --- what is borrowed --- */

int agent_use_return(struct agent_use *u, struct err *e)
{
	struct borrow_stats stats;
	struct err why = { 0 };

	if (!u->borrow)
		return 0;
	if (u->text_mutex && borrow_text_held(u->borrow, &why) != 1)
		agent_use_without(u, why.text[0] ? why.text : "it was given back before the change was made");
	borrow_stats(u->borrow, &stats);
	if (stats.longest_stop_us > u->longest_stop_us)
		u->longest_stop_us = stats.longest_stop_us;
	return borrow_end(TAKE_PTR(u->borrow), e);
}

bool agent_use_is_fatal(int r, const struct err *e)
{
	return r == -ESTALE || r == -ENOTCONN || (r == -ETIMEDOUT && strcmp(e->rule, "guest-poking") == 0);
}

int agent_use_lock(struct agent_use *u, struct backend_pause_hook *hook, uint64_t deadline_us, struct err *e)
{
	const struct borrow_config config = { .backend = u->session->backend,
					      .guest = u->session->guest,
					      .nonce = { u->nonce[0], u->nonce[1] },
					      .hook = hook };
	int r = borrow_begin(&config, &u->borrow, e);

	if (r < 0)
		return r;
	uint64_t left = agent_use_left_us(deadline_us);
	r = borrow_text_lock(u->borrow, left / 2 < AGENT_USE_COME_US ? left / 2 : AGENT_USE_COME_US, left, e);
	u->text_mutex = r >= 0;
	if (r < 0)
		agent_use_return(u, NULL);
	return r;
}

/* Debug registers the transaction takes for itself. */
static size_t registers_wanted(const struct poke_plan *plan)
{
	size_t n = 0;

	if ((plan->mode != POKE_MODE_STAGED && plan->mode != POKE_MODE_HELD) || plan->trap != BACKEND_TRAP_KIND_HW)
		return 0;
	for (size_t i = 0; i < plan->n_sites; i++)
		n += (size_t)__builtin_popcountll(plan->sites[i].boundaries);
	return n;
}

static int tasks_leave(struct poke_quiesce *q, uint64_t deadline_us, struct err *e)
{
	struct agent_use *u = container_of(q, struct agent_use, ops);
	if (!u->borrow)
		return err_set(e, ERR_FAILED, ENOTCONN, "", "no context is borrowed");
	return borrow_rcu_tasks(u->borrow, agent_use_left_us(deadline_us), e);
}

/* The VM runs on all the time, so the mutex is simply held around it all. */
static int begin_live(struct agent_use *u, const struct poke_plan *plan, uint64_t deadline_us, struct err *e)
{
	size_t wanted = registers_wanted(plan);

	if (wanted + BORROW_TRAPS_KEPT > POKE_TRAPS_HW_MAX)
		return err_set(e, ERR_REFUSED, ENOSPC, "hw-traps",
			       "the change takes %zu of the 4 debug registers for traps of its own", wanted);
	int r = agent_use_lock(u, NULL, deadline_us, e);
	if (r >= 0 && wanted)
		r = borrow_text_spare(u->borrow, e);
	if (r < 0)
		agent_use_return(u, NULL);
	else
		u->ops.tasks_leave = tasks_leave;
	return r;
}

int agent_use_begin(struct agent_use *u, struct session *s, json_t *args, const struct poke_plan *plan,
		    uint64_t deadline_us, struct err *e)
{
	struct err why = { 0 };

	*u = (struct agent_use){ .ops = { .scan = stacks_scan, .patching = stacks_patching, .copied = probes_copied },
				 .session = s,
				 .wanted = agent_use_is(args, "full") };
	if (!u->wanted)
		return 0;
	if (park(u, deadline_us, &why) < 0) {
		agent_use_without(u, why.text);
		return 0;
	}
	if (!(s->info.caps & BACKEND_NONSTOP)) {
		agent_use_stop_ops(u);
		return 0;
	}
	int r = begin_live(u, plan, deadline_us, &why);
	if (r >= 0)
		return 0;
	unpark(u);
	agent_use_without(u, why.text);
	if (!agent_use_is_fatal(r, &why))
		return 0;
	*e = why;
	return r;
}

void agent_use_end(struct agent_use *u)
{
	agent_use_return(u, NULL);
	unpark(u);
}

void agent_use_add_json(const struct agent_use *u, bool needs_quiescence, const struct poke_stats *stats, json_t *o)
{
	if (needs_quiescence)
		json_object_set_new(o, "quiescence", json_string(stats->tasks_left ? "rcu-tasks" : "scan"));
	if (!u->wanted)
		return;
	json_object_set_new(o, "text_mutex", json_boolean(u->text_mutex));
	if (!u->text_mutex)
		json_object_set_new(o, "text_mutex_why", worker_agent_text(u->why));
}
