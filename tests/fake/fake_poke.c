// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_poke.h. */
#include "tests/fake/fake_poke.h"

#include <errno.h>
#include <string.h>

#define REST_OFFSET 0x2000u /* where second pages are */

static void broke(struct fake_poke *p, const char *rule)
{
	if (!p->broken)
		p->broken = rule;
}

bool fake_poke_inside(const struct fake_poke *p)
{
	for (size_t v = 0; v < p->backend.n_vcpus; v++)
		for (size_t i = 0; i < p->plan.n_sites; i++) {
			uint64_t rip = p->backend.vcpus[v].rip, start = p->sites[i].gva;
			if (rip > start && rip < start + p->sites[i].len)
				return true;
		}
	return false;
}

static bool since_last_pause(const struct fake_poke *p, int event, size_t from)
{
	const struct fake_backend *f = &p->backend;
	size_t i = f->n_events;

	while (i > 0 && f->events[i - 1] != FAKE_PAUSED)
		i--;
	for (i = i > from ? i : from; i < f->n_events; i++)
		if (f->events[i] == event)
			return true;
	return false;
}

static void check_record(struct fake_poke *p, enum poke_state state)
{
	const struct fake_backend *f = &p->backend;

	if (state == POKE_PAUSED && f->paused)
		broke(p, "paused was recorded after the stop");
	if (state == POKE_WRITTEN && (!f->paused || fake_poke_inside(p)))
		broke(p, "written was recorded with the VM running or a vCPU inside");
	if (state == POKE_WRITTEN && !fake_poke_holds(p, false))
		broke(p, "written was recorded after a write");
	if (state == POKE_WRITTEN && p->plan.needs_quiescence &&
	    (p->clean_at == 0 || since_last_pause(p, FAKE_PAUSED, p->clean_at)))
		broke(p, "no clean scan in this pause");
	if (state == POKE_VERIFIED && (!f->paused || !fake_poke_holds(p, true)))
		broke(p, "verified was recorded without all new bytes");
	if ((state == POKE_DONE || state == POKE_UNDONE) && f->paused)
		broke(p, "the end was recorded before the resume");
	if (state == POKE_UNDONE && !fake_poke_holds(p, false))
		broke(p, "undone was recorded without all old bytes");
}

static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	struct fake_poke *p = container_of(log, struct fake_poke, log);

	check_record(p, state);
	if (state == POKE_PAUSED)
		p->recorded_running = was_running;
	else if (p->last_state >= POKE_PAUSED && was_running != p->recorded_running)
		broke(p, "was_running changed its mind");
	if ((int)state == p->fail_state)
		return err_set(e, ERR_FAILED, ENOSPC, "", "the journal is full");
	p->last_state = (int)state;
	fake_backend_note(&p->backend, FAKE_STATE + (int)state);
	return 0;
}

static bool log_cancelled(struct poke_log *log)
{
	struct fake_poke *p = container_of(log, struct fake_poke, log);

	return p->cancel_after && ++p->cancel_calls >= p->cancel_after;
}

static int scan(struct poke_quiesce *q, const struct vcpu_regs *regs, size_t n_regs, const struct poke_plan *plan,
		bool tasks_left, struct err *e)
{
	struct fake_poke *p = container_of(q, struct fake_poke, quiesce);

	if (tasks_left || plan != &p->plan || n_regs != p->backend.n_vcpus || !p->backend.paused)
		broke(p, "scan was called with something else");
	for (size_t i = 0; i < n_regs; i++)
		if (regs[i].rip != p->backend.vcpus[i].rip)
			broke(p, "scan was given stale registers");
	p->scans++;
	if (p->scans <= p->busy_scans) {
		err_set(e, ERR_TIMEOUT, EBUSY, "busy", "task 'sleeper' (pid 42) sleeps inside");
		return 1;
	}
	if (p->scan_error)
		return err_set(e, ERR_FAILED, -p->scan_error, "", "the stacks cannot be walked");
	p->clean_at = p->backend.n_events;
	return 0;
}

static int patching(struct poke_quiesce *q, struct err *e)
{
	struct fake_poke *p = container_of(q, struct fake_poke, quiesce);

	if (!p->backend.paused)
		broke(p, "the guest's own changes were looked for while it runs");
	if (++p->looks > p->patching_looks)
		return 0;
	err_set(e, ERR_TIMEOUT, EBUSY, "guest-poking", "the guest is changing its own text");
	return 1;
}

static int copied(struct poke_quiesce *q, struct err *e)
{
	struct fake_poke *p = container_of(q, struct fake_poke, quiesce);

	if (!p->backend.paused)
		broke(p, "copies were looked for while the guest runs");
	if (++p->copied_asked <= p->copied_moving) {
		err_set(e, ERR_TIMEOUT, EBUSY, "guest-poking", "the guest is registering a probe");
		return 1;
	}
	return p->copied_result < 0 ? err_set(e, ERR_REFUSED, -p->copied_result, "kprobe", "the guest has a probe there") : 0;
}

void fake_poke_init(struct fake_poke *p, size_t n_vcpus, bool running)
{
	memset(p, 0, sizeof(*p));
	fake_backend_init(&p->backend, n_vcpus, running);
	for (size_t i = 0; i < FAKE_RAM_SIZE; i++)
		p->backend.ram[i] = (uint8_t)fake_backend_random(&p->backend);
	for (size_t i = 0; i < n_vcpus; i++)
		p->backend.vcpus[i].rip = FAKE_GVA + 0x100000 + i;
	p->plan.sites = p->sites;
	p->log = (struct poke_log){ .state = log_state, .cancelled = log_cancelled };
	p->quiesce = (struct poke_quiesce){ .scan = scan, .patching = patching, .copied = copied };
	p->fail_state = p->last_state = -1;
}

void fake_poke_site(struct fake_poke *p, uint8_t len, uint8_t split, uint64_t boundaries)
{
	size_t n = p->plan.n_sites++;
	struct poke_site *s = &p->sites[n];

	*s = (struct poke_site){ .gva = FAKE_GVA + n * 0x80,
				 .gpa = FAKE_GPA + (uint64_t)n * 0x80,
				 .len = len,
				 .split = split,
				 .boundaries = boundaries,
				 .new_boundaries = 1 };
	if (split < len)
		s->gpa_rest = FAKE_GPA + REST_OFFSET + (uint64_t)n * 0x80;
	snprintf(s->label, sizeof(s->label), "site_%zu", n);
	for (size_t i = 0; i < len; i++) {
		uint64_t gpa = i < split ? s->gpa + i : s->gpa_rest + (i - split);
		s->old_bytes[i] = p->backend.ram[gpa - FAKE_GPA];
		s->new_bytes[i] = (uint8_t)fake_backend_random(&p->backend);
	}
	s->new_bytes[0] = (uint8_t)(s->old_bytes[0] ^ 0x5a);
	if (boundaries & (boundaries - 1))
		p->plan.needs_quiescence = true;
}

void fake_poke_seal(struct fake_poke *p)
{
	memcpy(p->ram_before, p->backend.ram, FAKE_RAM_SIZE);
}

bool fake_poke_holds(struct fake_poke *p, bool new_bytes)
{
	uint8_t want[FAKE_RAM_SIZE];

	memcpy(want, p->ram_before, sizeof(want));
	for (size_t n = 0; new_bytes && n < p->plan.n_sites; n++) {
		const struct poke_site *s = &p->sites[n];
		memcpy(want + (s->gpa - FAKE_GPA), s->new_bytes, s->split);
		if (s->split < s->len)
			memcpy(want + (s->gpa_rest - FAKE_GPA), s->new_bytes + s->split, (size_t)(s->len - s->split));
	}
	return memcmp(want, p->backend.ram, sizeof(want)) == 0;
}
