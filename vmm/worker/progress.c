// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * JOB_PROGRESS: which phase the work on a patch is in, for clients that asked to be told.
 * Must never be told while the guest stands still for it, and never so often that vmpoked
 * takes it for a flood.
 */
#include <string.h>

#include "vmm/worker/session.h"

#define TOLD_PER_S 100u

void session_progress_begin(struct session *s, json_t *args)
{
	s->progress.wanted = json_is_true(json_object_get(args, "progress"));
	s->progress.job_id = json_string_value(json_object_get(args, "job-id"));
	s->progress.phase = "";
}

void session_progress_end(struct session *s)
{
	s->progress.wanted = false;
	s->progress.job_id = NULL;
}

static bool may_tell(struct job_progress *p)
{
	uint64_t now = now_us();

	if (now - p->since_us >= 1000000u) {
		p->since_us = now;
		p->told = 0;
	}
	return p->told++ < TOLD_PER_S;
}

void session_progress(struct session *s, const char *phase)
{
	struct job_progress *p = &s->progress;

	if (!p->wanted || strcmp(p->phase, phase) == 0 || !may_tell(p))
		return;
	p->phase = phase;
	json_t *data = json_pack("{s:s, s:s}", "vm", s->target.vm, "phase", phase);
	if (p->job_id)
		json_object_set_new(data, "id", json_string(p->job_id));
	control_event(s->control, "JOB_PROGRESS", data);
}

void session_progress_state(struct session *s, enum poke_mode mode, enum poke_state state)
{
	static const char *const phases[POKE_STATE_COUNT] = {
		[POKE_PAUSED] = "sync",	  [POKE_TRAPPED] = "trap",  [POKE_TAILED] = "sync",
		[POKE_HEADED] = "write",  [POKE_WRITTEN] = "write", [POKE_VERIFIED] = "verify",
	};

	/* From then on all vCPUs stand still. */
	if (phases[state] && (mode != POKE_MODE_STOPPED || state == POKE_PAUSED))
		session_progress(s, phases[state]);
}
