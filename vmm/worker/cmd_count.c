// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vm-count: how often an instruction of the guest's kernel is executed. Changes no byte of
 * the guest; a trap that could outlive this worker is in the journal before it is set.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "vmm/kind/kind.h"
#include "vmm/poke/count.h"
#include "vmm/worker/commands.h"

#define DURATION_DEFAULT_MS 10000
#define PROGRESS_US 1000000u

struct progress {
	struct count_watch watch;
	struct session *session;
	const char *job_id;
	const struct kind_instruction *at;
	bool live;
	uint64_t told_us; /* elapsed_us of what clients last heard */
};

static void tell(const struct progress *p, const struct count_figures *now)
{
	struct session *s = p->session;

	control_event(s->control, "COUNT_PROGRESS",
		      json_pack("{s:s, s:o, s:s, s:I, s:I}", "vm", s->target.vm, "address", qmp_address(p->at->gva), "symbol",
				p->at->label, "hits", (json_int_t)now->hits, "elapsed_us", (json_int_t)now->elapsed_us));
}

/* The guest was reset or ended. Where hits stop the VM its events are all of our own making. */
static bool has_event(const struct progress *p)
{
	struct backend *b = p->session->backend;
	struct pollfd fd = { .fd = p->live ? b->ops->event_fd(b) : -1, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

static bool tick(struct count_watch *watch, const struct count_figures *now)
{
	struct progress *p = container_of(watch, struct progress, watch);

	if (now->elapsed_us - p->told_us >= PROGRESS_US) {
		p->told_us = now->elapsed_us;
		tell(p, now);
	}
	return control_cancelled(p->session->control, p->job_id) || has_event(p);
}

static int find(struct session *s, json_t *args, struct kind_instruction *ret, struct err *e)
{
	const char *text = json_string_value(json_object_get(args, "at"));
	struct kind_context ctx = { .arch = arch_of(s->info.arch), .guest = s->guest };
	struct patch_place place;

	if (patch_place_parse(text, &place) < 0)
		return err_set(e, ERR_USAGE, EINVAL, NULL,
			       "'%.300s' is no place: a symbol, symbol+0xOFFSET, or 0xADDRESS", text);
	return kind_instruction(&ctx, &place, ret, e);
}

static json_t *result_json(const struct session *s, const struct kind_instruction *at, unsigned max_rate,
			   const struct count_figures *f)
{
	return json_pack("{s:s, s:o, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "vm", s->target.vm, "address",
			 qmp_address(at->gva), "symbol", at->label, "hits", (json_int_t)f->hits, "ended",
			 count_end_name(f->end), "elapsed_us", (json_int_t)f->elapsed_us, "max_rate", (json_int_t)max_rate,
			 "stops", (json_int_t)f->stops, "stopped_us", (json_int_t)f->stopped_us, "longest_pause_us",
			 (json_int_t)f->longest_us);
}

int command_vm_count(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	json_t *ms = json_object_get(args, "timeout"), *rate = json_object_get(args, "max-rate");
	struct kind_instruction at = { 0 };
	struct count_figures figures = { 0 };
	int r = session_guest(s, NULL, e);

	if (r == 0)
		r = find(s, args, &at, e);
	if (r < 0)
		return r;
	bool live = s->info.caps & BACKEND_NONSTOP;
	struct progress p = { .watch.tick = tick, .session = s, .at = &at, .live = live,
			      .job_id = json_string_value(json_object_get(args, "job-id")) };
	struct count_request request = {
		.gva = at.gva, .insn_len = at.len,
		.duration_us = (uint64_t)(ms ? json_integer_value(ms) : DURATION_DEFAULT_MS) * 1000u,
		.max_rate = rate ? (unsigned)json_integer_value(rate) : live ? COUNT_RATE_LIVE : COUNT_RATE_STOPPED,
	};
	memcpy(request.insn, at.bytes, at.len);
	r = live ? 0 : session_hold_traps(s, e);
	if (r == 0)
		r = poke_count(s->backend, arch_of(s->info.arch), &request, &p.watch, &figures, e);
	if (r < 0)
		return r;
	*ret = result_json(s, &at, request.max_rate, &figures);
	return 0;
}
