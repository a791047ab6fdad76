// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_live.h: the backend's side. Must never be kinder than the contract: what it forbids is a broken rule. */
#include "tests/fake/fake_live.h"

#include <errno.h>
#include <string.h>

static struct fake_live *fake(struct backend *b)
{
	return container_of(b, struct fake_live, base);
}

uint64_t fake_live_random(struct fake_live *f)
{
	f->seed ^= f->seed << 13;
	f->seed ^= f->seed >> 7;
	f->seed ^= f->seed << 17;
	return f->seed;
}

void fake_live_run(struct fake_live *f, unsigned steps)
{
	for (unsigned i = 0; i < steps && f->running && f->plan.n_sites; i++)
		live_vcpu_step(f, fake_live_random(f) % f->n_vcpus);
}

/* The engine's thread is one among others. */
static void others_run(struct fake_live *f)
{
	fake_live_run(f, (unsigned)(fake_live_random(f) % 6));
}

static bool call_fails(struct fake_live *f, const char *what, struct err *e)
{
	others_run(f);
	f->calls++;
	if (!f->fail_at || f->calls < f->fail_at || f->calls - f->fail_at >= f->fail_for)
		return false;
	err_set(e, ERR_FAILED, EIO, "", "the fake's %s failed (call %u)", what, f->calls);
	return true;
}

static void store(struct fake_live *f, size_t at, uint8_t value)
{
	if (f->n_stores == LIVE_STORES_MAX) {
		live_broke(f, "more stores than a test makes");
		return;
	}
	f->stores[f->n_stores++] = (struct live_store){ at, f->ram[at] };
	f->ram[at] = value;
}

static bool is_ram(uint64_t gpa, size_t len)
{
	return gpa >= LIVE_GPA && gpa - LIVE_GPA <= LIVE_RAM_SIZE - len;
}

/* --- the ops every backend has --- */

static int live_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "info", e))
		return -EIO;
	*ret = (struct backend_info){ .caps = f->caps,
				      .vcpus = f->n_vcpus,
				      .state = f->running ? BACKEND_RUNNING : BACKEND_PAUSED };
	return 0;
}

static int live_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "read", e))
		return -EIO;
	if (!is_ram(gpa, len))
		return err_set_addr(e, ERR_FAILED, EFAULT, "", gpa, "not RAM");
	memcpy(buf, f->ram + (gpa - LIVE_GPA), len);
	return 0;
}

static int live_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	struct fake_live *f = fake(b);
	const uint8_t *bytes = buf;

	if (!is_ram(gpa, len))
		return err_set_addr(e, ERR_FAILED, EFAULT, "", gpa, "not RAM");
	bool fails = call_fails(f, "write", e);
	for (size_t i = 0; i < (fails ? len / 2 : len); i++) {
		store(f, gpa - LIVE_GPA + i, bytes[i]);
		others_run(f);
	}
	return fails ? -EIO : 0;
}

static void serialise_all(struct fake_live *f)
{
	for (size_t i = 0; i < f->n_vcpus; i++)
		live_vcpu_serialise(f, i);
}

static int live_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e)
{
	struct fake_live *f = fake(b);
	bool fails = call_fails(f, "pause", e);

	if (f->paused)
		return err_set(e, ERR_FAILED, EALREADY, "", "paused already");
	int r = hook ? hook->before(hook, f->running, e) : 0;
	if (r < 0 || fails)
		return r < 0 ? r : -EIO;
	f->pauses++;
	f->found_running = *ret_was_running = f->running;
	f->running = false;
	f->paused = true;
	serialise_all(f);
	return 0;
}

static int live_resume(struct backend *b, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "resume", e))
		return -EIO;
	if (!f->paused)
		return err_set(e, ERR_FAILED, EINVAL, "", "not paused");
	f->paused = false;
	f->running = f->found_running;
	serialise_all(f); /* as mode stopped relies on: nobody enters with what it fetched before */
	fake_live_run(f, 80);
	return 0;
}

static int live_regs_get(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "regs_get", e))
		return -EIO;
	if (f->running)
		live_broke(f, "registers were asked for while the VM ran");
	*ret = f->vcpus[vcpu].context.regs;
	if (f->vcpus[vcpu].context.site < 0 || f->vcpus[vcpu].context.in_callee)
		ret->rip = f->away && fake_live_random(f) % 2 ? f->away : LIVE_GVA + 0x900000;
	return 0;
}

static int live_step(struct backend *b, size_t vcpu, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "step", e))
		return -EIO;
	if (f->running)
		live_broke(f, "a vCPU was stepped while the VM ran");
	live_vcpu_single_step(f, vcpu);
	return 0;
}

/* --- under running vCPUs --- */

static int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "arm", e))
		return -EIO;
	f->handler = h;
	return 0;
}

static int live_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "disarm", e))
		return -EIO;
	if (f->handler && f->handler != h)
		live_broke(f, "somebody else's handler was disarmed");
	for (size_t i = 0; i < f->n_vcpus; i++) {
		live_vcpu_ask(f, i);
		if (f->vcpus[i].held)
			live_broke(f, "a vCPU was left held");
	}
	f->handler = NULL;
	return 0;
}

static void barrier_all(struct fake_live *f, struct backend_barrier *ret)
{
	for (size_t i = 0; i < f->n_vcpus; i++) {
		bool in_guest = f->running && !f->vcpus[i].held && fake_live_random(f) % 2;

		live_vcpu_serialise(f, i);
		ret->kicked += in_guest;
		ret->already_out += !in_guest;
		f->kicked[i] += in_guest;
		others_run(f);
	}
	ret->waited_us++;
}

static int live_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
			struct backend_barrier *ret, struct err *e)
{
	struct fake_live *f = fake(b);

	(void)h;
	if (call_fails(f, "trap_hw", e))
		return -EIO;
	for (size_t i = 0; i < n; i++)
		f->hw[i] = gvas[i];
	f->n_hw = n;
	barrier_all(f, ret);
	return 0;
}

static bool skips_barrier(const struct fake_live *f)
{
	return (f->sabotage == LIVE_NO_BARRIER_AFTER_TRAPPED && f->barriers == 1) ||
	       (f->sabotage == LIVE_NO_BARRIER_AFTER_TAILED && f->barriers == 2);
}

static int live_barrier(struct backend *b, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "barrier", e))
		return -EIO;
	for (size_t i = 0; i < n; i++)
		if (gpas[i] & 4095 || (i && gpas[i] <= gpas[i - 1]))
			live_broke(f, "the pages of a barrier are not pages, or not sorted");
	f->barriers++;
	if (skips_barrier(f))
		ret->kicked = (unsigned)f->n_vcpus;
	else
		barrier_all(f, ret);
	return 0;
}

static void flip_bytes(struct fake_live *f, const struct backend_flip *flip)
{
	for (size_t j = 0; j < flip->len; j++)
		store(f, flip->gpa - LIVE_GPA + j, flip->bytes[j]);
}

static int live_flip(struct backend *b, const struct backend_flip *flips, size_t n, struct backend_barrier *ret,
		     struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "flip", e))
		return -EIO;
	f->flips++;
	for (size_t i = 0; i < n; i++) {
		if (!is_ram(flips[i].gpa, flips[i].len) || !flips[i].len ||
		    flips[i].gpa / 4096 != (flips[i].gpa + flips[i].len - 1) / 4096)
			live_broke(f, "a flip crosses a page");
		flip_bytes(f, &flips[i]);
		if (f->sabotage != LIVE_FLIP_HALF || i != n / 2)
			continue;
		serialise_all(f);
		fake_live_run(f, 40);
	}
	if (f->sabotage == LIVE_FLIP_UNSERIALISED)
		return 0;
	serialise_all(f); /* nobody has run since the first byte */
	barrier_all(f, ret);
	return 0;
}

static int live_release(struct backend *b, struct err *e)
{
	struct fake_live *f = fake(b);

	if (call_fails(f, "release", e))
		return -EIO;
	for (size_t i = 0; i < f->n_vcpus; i++)
		f->vcpus[i].ask = true;
	others_run(f);
	return 0;
}

static int virtual(struct fake_live *f, size_t vcpu, uint64_t gva, size_t len, uint8_t **ret,
		   struct backend_fault *fault)
{
	*ret = f->hide_slots && gva >= LIVE_GVA + LIVE_SLOTS ? NULL : live_at(f, vcpu, gva, len);
	*fault = (struct backend_fault){ .vector = 14, .has_error_code = true, .cr2 = gva };
	return *ret ? 0 : -EFAULT;
}

static int live_read_virtual(struct backend *b, size_t vcpu, uint64_t gva, void *buf, size_t len,
			     struct backend_fault *fault)
{
	uint8_t *at;
	int r = virtual(fake(b), vcpu, gva, len, &at, fault);

	if (r == 0)
		memcpy(buf, at, len);
	return r;
}

static int live_write_virtual(struct backend *b, size_t vcpu, uint64_t gva, const void *buf, size_t len,
			      struct backend_fault *fault)
{
	uint8_t *at;
	int r = virtual(fake(b), vcpu, gva, len, &at, fault);

	if (r == 0)
		memcpy(at, buf, len);
	return r;
}

/* --- engines that are wrong on purpose: what reaches the guest is what such an engine would do --- */

static int sabotaged_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	struct fake_live *f = fake(b);

	/* The heads go in with the barrier before their time, the tails after them. */
	if (f->sabotage == LIVE_HEAD_BEFORE_TAIL && f->barriers == 1) {
		for (size_t i = 0; i < f->plan.n_sites; i++)
			store(f, f->sites[i].gpa - LIVE_GPA, f->sites[i].new_bytes[0]);
		fake_live_run(f, 20);
	}
	return live_write(b, gpa, buf, len, e);
}

static const struct backend_live_ops live_ops = {
	.arm = live_arm,
	.disarm = live_disarm,
	.trap_hw = live_trap_hw,
	.write = sabotaged_write,
	.barrier = live_barrier,
	.flip = live_flip,
	.release = live_release,
	.read_virtual = live_read_virtual,
	.write_virtual = live_write_virtual,
};

static const struct backend_ops fake_ops = {
	.name = "fake-live",
	.live = &live_ops,
	.info = live_info,
	.read = live_read,
	.write = live_write,
	.pause = live_pause,
	.resume = live_resume,
	.regs_get = live_regs_get,
	.step = live_step,
};

/* --- the transaction's surroundings --- */

static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	struct fake_live *f = container_of(log, struct fake_live, log);

	(void)was_running;
	if ((state == POKE_TRAPPED || state == POKE_WRITTEN) && !fake_live_holds(f, false))
		live_broke(f, "the first change was recorded after it was made");
	if (state == POKE_VERIFIED && !fake_live_holds(f, true))
		live_broke(f, "verified was recorded without all new bytes");
	if (state == POKE_UNDONE && !fake_live_holds(f, false))
		live_broke(f, "undone was recorded without all old bytes");
	if ((state == POKE_DONE || state == POKE_UNDONE) && (f->paused || f->handler || f->n_hw))
		live_broke(f, "the end was recorded with traps armed or the VM paused");
	if ((int)state == f->fail_state)
		return err_set(e, ERR_FAILED, ENOSPC, "", "the journal is full");
	f->last_state = (int)state;
	return 0;
}

static bool log_cancelled(struct poke_log *log)
{
	struct fake_live *f = container_of(log, struct fake_live, log);

	return f->cancel_after && ++f->cancel_calls >= f->cancel_after;
}

static bool sleeper_inside(const struct fake_live *f, const struct poke_plan *plan)
{
	bool inside = false;

	for (size_t i = 0; i < LIVE_SLEEPERS; i++)
		inside |= live_context_inside(f, &f->sleepers[i], plan, true);
	return inside;
}

static int scan(struct poke_quiesce *q, const struct vcpu_regs *regs, size_t n_regs, const struct poke_plan *plan,
		bool tasks_left, struct err *e)
{
	struct fake_live *f = container_of(q, struct fake_live, quiesce);
	bool busy = false;

	(void)regs;
	if (n_regs != f->n_vcpus || !f->paused)
		live_broke(f, "stacks were scanned while the VM ran");
	for (size_t i = 0; i < f->n_vcpus; i++)
		busy |= live_context_inside(f, &f->vcpus[i].context, plan, false);
	if (tasks_left && sleeper_inside(f, plan))
		live_broke(f, "a task is inside a range, and all were to have left");
	busy |= !tasks_left && (f->ghosts || sleeper_inside(f, plan));
	if (!busy || f->sabotage == LIVE_RELEASE_BEFORE_QUIESCENCE)
		return 0;
	err_set(e, ERR_TIMEOUT, EBUSY, "busy", "a task sleeps inside");
	return 1;
}

/* Who was preempted inside goes on; who sleeps there, in what was called, is not waited for. */
static bool preempted_inside(const struct fake_live *f)
{
	for (size_t i = 0; i < LIVE_SLEEPERS; i++)
		if (!f->sleepers[i].in_callee && live_context_inside(f, &f->sleepers[i], &f->plan, true))
			return true;
	return false;
}

static int tasks_leave(struct poke_quiesce *q, uint64_t deadline_us, struct err *e)
{
	struct fake_live *f = container_of(q, struct fake_live, quiesce);

	(void)deadline_us;
	f->leave_calls++;
	if (f->paused || !f->handler)
		live_broke(f, "tasks were waited for with the VM paused, or without traps");
	for (int i = 0; i < 400 && preempted_inside(f); i++)
		fake_live_run(f, 20);
	return preempted_inside(f) ? err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "a task does not leave") : 0;
}

void fake_live_tasks(struct fake_live *f)
{
	f->quiesce.tasks_leave = tasks_leave;
}

void fake_live_init(struct fake_live *f, uint64_t seed, size_t n_vcpus)
{
	memset(f, 0, sizeof(*f));
	f->base.ops = &fake_ops;
	f->seed = (seed + 1) * 0x9e3779b97f4a7c15u;
	f->n_vcpus = n_vcpus;
	f->running = true;
	f->caps = BACKEND_STEP | BACKEND_NONSTOP | BACKEND_REMAP | BACKEND_TRAP_INT3 | BACKEND_TRAP_HW;
	f->fail_for = 1;
	f->plan.sites = f->sites;
	f->quiesce.scan = scan;
	f->log = (struct poke_log){ .state = log_state, .cancelled = log_cancelled };
	f->last_state = f->fail_state = -1;
	for (size_t i = 0; i < LIVE_RAM_SIZE; i++)
		f->ram[i] = (uint8_t)fake_live_random(f) | 1; /* never a trap: 0xcc is even */
	for (size_t i = 0; i < LIVE_SLEEPERS; i++)
		f->sleepers[i].site = -1;
	for (size_t i = 0; i < n_vcpus; i++) {
		f->vcpus[i].context.site = -1;
		for (size_t j = 0; j < LIVE_SITES_MAX; j++)
			f->vcpus[i].last_version[j] = -1;
	}
}

static uint64_t boundaries(const uint8_t *bytes, size_t len, uint64_t gva)
{
	uint64_t mask;
	size_t end, bad;

	if (arch_boundaries(&arch_x86_64, bytes, len, gva, len, &mask, &end, &bad) < 0 || end != len)
		abort(); /* the test's own bytes */
	return mask;
}

void fake_live_site(struct fake_live *f, const char *old_hex, const char *new_hex)
{
	struct poke_site *s = &f->sites[f->plan.n_sites];
	ssize_t len = hex_decode(old_hex, s->old_bytes, sizeof(s->old_bytes));
	size_t at = 0xd00 + f->plan.n_sites * 0x80 + fake_live_random(f) % 8;

	if (len < 1 || hex_decode(new_hex, s->new_bytes, sizeof(s->new_bytes)) != len)
		abort();
	if (f->plan.n_sites == 6 && len > 1) /* on two pages */
		at = 0x1000 - (1 + fake_live_random(f) % (unsigned long)(len - 1));
	s->gva = LIVE_GVA + at;
	s->gpa = LIVE_GPA + at;
	s->len = s->split = (uint8_t)len;
	if (at < 0x1000 && at + s->len > 0x1000)
		s->split = (uint8_t)(0x1000 - at);
	s->gpa_rest = s->gpa + s->split;
	s->boundaries = boundaries(s->old_bytes, s->len, s->gva);
	s->new_boundaries = boundaries(s->new_bytes, s->len, s->gva);
	snprintf(s->label, sizeof(s->label), "site_%zu", f->plan.n_sites);
	memcpy(f->ram + at, s->old_bytes, s->len);
	f->plan.needs_quiescence |= (s->boundaries & (s->boundaries - 1)) != 0;
	f->plan.n_sites++;
}

/* Old and new of every shape a kernel patch has; those from FIRST_MULTI on replace several instructions. */
static const char *const shapes[][2] = {
	{ "0f1f440000", "e900001000" }, /* static key: NOP to JMP */
	{ "e900001000", "0f1f440000" },
	{ "e800001000", "e800002000" }, /* static call */
	{ "e800001000", "e900001000" }, /* only the first byte differs */
	{ "b811111111", "b822222222" }, /* only the tail differs */
	{ "48b81111111111111111", "48b82222222222222222" },
	{ "7510", "6690" },
	{ "eb10", "7410" },
	{ "90", "f8" },
	{ "488d4708", "488d4710" },	/* nothing the emulator knows */
	{ "0f1f440000", "488d4710f8" }, /* one instruction becomes two */
	{ "0f1f440000", "b844332211" },
	{ "c3", "90" },
	{ "554889e54883ec10", "e9000010000f1f00" }, /* prologue: not walkable by hand */
	{ "b811111111bb22222222", "b933333333b844444444" },
	{ "e8000010000f1f00", "b8444444440f1f00" }, /* a call from inside, that returns inside */
	{ "55534889e5", "e900001000" },
	{ "b8111111110f1f00c3", "b822222222c30f1f00" },
	{ "e800001000488d4708", "554889e5488d471090" },
};
#define FIRST_MULTI 13

void fake_live_sites(struct fake_live *f, size_t n, bool multi)
{
	for (size_t i = 0; i < n; i++) {
		size_t shape = fake_live_random(f) % (multi ? ARRAY_SIZE(shapes) : FIRST_MULTI);
		fake_live_site(f, shapes[shape][0], shapes[shape][1]);
	}
}

void fake_live_slots(struct fake_live *f, size_t n)
{
	memset(f->ram + LIVE_SLOTS, 0xcc, n * POKE_SLOT_LEN);
	for (size_t i = 0; i < n; i++)
		f->slots[i] = (struct poke_slot){ LIVE_GVA + LIVE_SLOTS + i * POKE_SLOT_LEN,
						  LIVE_GPA + LIVE_SLOTS + i * POKE_SLOT_LEN };
	f->plan.slots = f->slots;
	f->plan.n_slots = n;
}

bool fake_live_padded(const struct fake_live *f)
{
	for (size_t i = 0; i < f->plan.n_slots * POKE_SLOT_LEN; i++)
		if (f->ram[LIVE_SLOTS + i] != 0xcc)
			return false;
	return true;
}

bool fake_live_holds(const struct fake_live *f, bool new_bytes)
{
	for (size_t i = 0; i < f->plan.n_sites; i++) {
		const struct poke_site *s = &f->sites[i];
		if (memcmp(f->ram + (s->gpa - LIVE_GPA), new_bytes ? s->new_bytes : s->old_bytes, s->len) != 0)
			return false;
	}
	return true;
}
