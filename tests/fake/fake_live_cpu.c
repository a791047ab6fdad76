// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vCPUs of fake_live.h: passes through sites, one instruction a step, and the
 * checker. A pass must end as all-old or all-new code ends, and every instruction
 * executed natively must be a whole old or a whole new one. Must never be kinder than
 * hardware may be: what is not serialised is fetched in the worst mixture.
 */
#include <errno.h>
#include <string.h>

#include "tests/fake/fake_live.h"

#define EFER_LMA (UINT64_C(1) << 10)

void live_broke(struct fake_live *f, const char *rule)
{
	if (!f->broken)
		f->broken = rule;
}

static uint8_t *stack_at(struct live_context *c, uint64_t gva, size_t len)
{
	if (gva < LIVE_STACK_GVA || gva - LIVE_STACK_GVA > LIVE_STACK_SIZE - len)
		return NULL;
	return c->stack + (gva - LIVE_STACK_GVA);
}

uint8_t *live_at(struct fake_live *f, size_t vcpu, uint64_t gva, size_t len)
{
	if (gva >= LIVE_GVA && gva - LIVE_GVA <= LIVE_RAM_SIZE - len)
		return f->ram + (gva - LIVE_GVA);
	return stack_at(&f->vcpus[vcpu].context, gva, len);
}

/* --- what instructions do --- */

struct stack_access {
	struct arch_access ops;
	struct live_context *context;
};

static int access_read(struct arch_access *a, uint64_t gva, void *buf, size_t len, struct arch_fault *fault)
{
	uint8_t *at = stack_at(container_of(a, struct stack_access, ops)->context, gva, len);

	*fault = (struct arch_fault){ .vector = 14 };
	if (at)
		memcpy(buf, at, len);
	return at ? 0 : -EFAULT;
}

static int access_write(struct arch_access *a, uint64_t gva, const void *buf, size_t len, struct arch_fault *fault)
{
	uint8_t *at = stack_at(container_of(a, struct stack_access, ops)->context, gva, len);

	*fault = (struct arch_fault){ .vector = 14 };
	if (at)
		memcpy(at, buf, len);
	return at ? 0 : -EFAULT;
}

/* What the emulator does not know leaves a mark in RDI that tells its bytes. */
static void execute(struct live_context *c, const uint8_t *code, size_t len)
{
	struct stack_access access = { { access_read, access_write }, c };
	struct arch_fault fault;

	if (arch_x86_64.emulate(code, len, &c->regs, &access.ops, &fault) == 0)
		return;
	for (size_t i = 0; i < len; i++)
		c->regs.gpr[VCPU_RDI] = c->regs.gpr[VCPU_RDI] * 31 + code[i];
	c->regs.rip += len;
}

static bool inside(const struct poke_site *site, uint64_t gva)
{
	return gva > site->gva && gva - site->gva < site->len;
}

/* The word on top of the stack is a way back into the range. */
static bool will_return(const struct fake_live *f, const struct live_context *c)
{
	uint64_t word;

	if (c->regs.gpr[VCPU_RSP] != LIVE_STACK_GVA + LIVE_STACK_SIZE - 16)
		return false;
	memcpy(&word, c->stack + LIVE_STACK_SIZE - 16, 8);
	return inside(&f->sites[c->site], word);
}

static void callee_returns(struct live_context *c)
{
	memcpy(&c->regs.rip, c->stack + LIVE_STACK_SIZE - 16, 8);
	c->regs.gpr[VCPU_RSP] += 8;
	c->in_callee = false;
}

/* --- passes --- */

/* How the pass ends with these bytes: executed on a copy. */
static void foresee(const struct fake_live *f, const struct live_context *start, bool new_bytes,
		    struct live_context *ret)
{
	const struct poke_site *site = &f->sites[start->site];
	const uint8_t *bytes = new_bytes ? site->new_bytes : site->old_bytes;
	struct live_context c = *start;

	while (c.regs.rip - site->gva < site->len) {
		size_t at = c.regs.rip - site->gva;
		struct arch_insn insn;

		if (arch_x86_64.decode(bytes + at, site->len - at, c.regs.rip, &insn) < 0)
			abort(); /* the test's own bytes */
		execute(&c, bytes + at, insn.len);
		if (c.regs.rip - site->gva >= site->len && will_return(f, &c))
			callee_returns(&c);
	}
	ret->end_regs[new_bytes] = c.regs;
	memcpy(ret->end_stack[new_bytes], c.stack, sizeof(c.stack));
}

static void pass_begin(struct fake_live *f, struct live_context *c)
{
	*c = (struct live_context){ .site = (int)(fake_live_random(f) % f->plan.n_sites) };
	for (size_t i = 0; i < VCPU_GPR_COUNT; i++)
		c->regs.gpr[i] = fake_live_random(f);
	for (size_t i = 0; i < LIVE_STACK_SIZE; i++)
		c->stack[i] = (uint8_t)fake_live_random(f) & 0x7f;
	uint64_t back = LIVE_GVA + 0x800000 + fake_live_random(f) % 4096;
	memcpy(c->stack + LIVE_STACK_SIZE - 8, &back, 8);
	c->regs.gpr[VCPU_RSP] = LIVE_STACK_GVA + LIVE_STACK_SIZE - 8;
	c->regs.rip = f->sites[c->site].gva;
	c->regs.rflags = 0x202 | (fake_live_random(f) & 0x8d5);
	c->regs.cs = 0x10;
	c->regs.efer = EFER_LMA;
	struct live_context start = *c;
	foresee(f, &start, false, c);
	foresee(f, &start, true, c);
}

static bool ended_as(const struct live_context *c, int version)
{
	return memcmp(c->regs.gpr, c->end_regs[version].gpr, sizeof(c->regs.gpr)) == 0 &&
	       c->regs.rip == c->end_regs[version].rip && memcmp(c->stack, c->end_stack[version], LIVE_STACK_SIZE) == 0;
}

static void pass_end(struct fake_live *f, struct live_context *c)
{
	bool is_old = ended_as(c, 0), is_new = ended_as(c, 1);

	if (!is_old && !is_new)
		live_broke(f, "a pass was neither all old nor all new");
	if (is_old && !is_new && c->late && !f->broken_atomic)
		f->broken_atomic = "old code was executed after somebody had seen new code";
	f->seen_new |= is_new && !is_old;
	f->old_passes += is_old;
	f->new_passes += is_new;
	c->site = -1;
}

/* Something was executed: is the pass over? */
static void pass_moved(struct fake_live *f, struct live_context *c)
{
	const struct poke_site *site = &f->sites[c->site];

	if (c->regs.rip - site->gva < site->len)
		return;
	if (will_return(f, c))
		c->in_callee = true;
	else
		pass_end(f, c);
}

static void pass_begins_to_execute(struct fake_live *f, struct live_context *c)
{
	if (!c->begun)
		c->late = f->seen_new;
	c->begun = true;
}

/* --- fetching --- */

void live_vcpu_serialise(struct fake_live *f, size_t vcpu)
{
	f->vcpus[vcpu].fetch_from = f->n_stores;
	f->vcpus[vcpu].serialised = ++f->tick;
}

/* One of the values the byte had since the vCPU was serialised, the present one included. */
static uint8_t fetch_byte(struct fake_live *f, const struct live_vcpu *v, size_t at)
{
	uint8_t candidates[64];
	size_t n = 0;

	candidates[n++] = f->ram[at];
	for (size_t i = v->fetch_from; i < f->n_stores && n < sizeof(candidates); i++)
		if (f->stores[i].at == at)
			candidates[n++] = f->stores[i].before;
	return candidates[fake_live_random(f) % n];
}

static bool is_insn(const uint8_t *bytes, uint64_t boundaries, const struct poke_site *site, size_t at,
		    const uint8_t *code, size_t len)
{
	return (boundaries >> at & 1) && at + len <= site->len && memcmp(bytes + at, code, len) == 0;
}

/* Whole old, whole new, or torn; and between old and new lies a serialising exit. */
static void check_native(struct fake_live *f, struct live_vcpu *v, const uint8_t *code, size_t len)
{
	int i = v->context.site;
	const struct poke_site *site = &f->sites[i];
	size_t at = v->context.regs.rip - site->gva;
	bool is_old = is_insn(site->old_bytes, site->boundaries, site, at, code, len);
	bool is_new = is_insn(site->new_bytes, site->new_boundaries, site, at, code, len);

	if (!is_old && !is_new)
		live_broke(f, "a torn instruction was executed");
	if (is_old == is_new)
		return;
	if (v->last_version[i] == !is_new && v->serialised <= v->last_tick[i])
		live_broke(f, "from old to new without a serialising exit");
	v->last_version[i] = is_new;
	v->last_tick[i] = ++f->tick;
}

static void native(struct fake_live *f, struct live_vcpu *v, const uint8_t *code, size_t avail)
{
	struct arch_insn insn;

	pass_begins_to_execute(f, &v->context);
	if (arch_x86_64.decode(code, avail, v->context.regs.rip, &insn) < 0) {
		live_broke(f, "bytes that are no instruction were executed");
		v->context.site = -1;
		return;
	}
	check_native(f, v, code, insn.len);
	execute(&v->context, code, insn.len);
	pass_moved(f, &v->context);
}

/* --- traps --- */

/* The copy in the slot, moved back to where it was made from, is what is executed. */
static void step_copy(struct fake_live *f, struct live_vcpu *v, uint64_t was)
{
	struct live_context *c = &v->context;
	uint64_t at = c->regs.rip - (LIVE_GVA + LIVE_SLOTS);
	uint8_t code[ARCH_INSN_MAX];
	ssize_t n = at % POKE_SLOT_LEN || at >= f->plan.n_slots * POKE_SLOT_LEN
			    ? -EFAULT
			    : arch_x86_64.relocate(f->ram + LIVE_SLOTS + at, POKE_SLOT_LEN, c->regs.rip, was, code,
						   sizeof(code));

	v->held = false;
	f->copies++;
	c->regs.rip = was;
	if (n < 0 || c->site < 0) {
		live_broke(f, "there is no copy of the instruction in the slot");
		return;
	}
	pass_begins_to_execute(f, c);
	execute(c, code, (size_t)n);
	pass_moved(f, c);
}

static void answered(struct fake_live *f, struct live_vcpu *v, enum backend_verdict verdict, uint64_t was)
{
	switch (verdict) {
	case BACKEND_HIT_HOLD:
		f->holds++;
		v->held = f->sabotage != LIVE_NEVER_HOLD;
		if (!v->held) { /* goes on with the old code behind the trap */
			struct live_context *c = &v->context;
			const struct poke_site *site = &f->sites[c->site];
			size_t at = c->regs.rip - site->gva;
			struct arch_insn insn;

			pass_begins_to_execute(f, c);
			if (arch_x86_64.decode(site->old_bytes + at, site->len - at, was, &insn) == 0)
				execute(c, site->old_bytes + at, insn.len);
			pass_moved(f, c);
		}
		return;
	case BACKEND_HIT_RESUME:
		v->held = false;
		if (v->context.regs.rip != was && v->context.site >= 0) {
			pass_begins_to_execute(f, &v->context);
			pass_moved(f, &v->context);
		}
		return;
	case BACKEND_HIT_STEP:
		step_copy(f, v, was);
		return;
	case BACKEND_HIT_FOREIGN:
		v->held = false;
		live_broke(f, "the guest got a trap of ours");
		return;
	default:
		live_broke(f, "an emulated instruction faulted");
	}
}

static void trap(struct fake_live *f, size_t vcpu, enum backend_trap kind)
{
	struct live_vcpu *v = &f->vcpus[vcpu];
	struct backend_fault fault;
	uint64_t was = v->context.regs.rip;

	live_vcpu_serialise(f, vcpu);
	v->ask = false;
	f->hits++;
	if (!f->handler) {
		live_broke(f, "a trap that nobody answers");
		v->context.site = -1;
		return;
	}
	answered(f, v, f->handler->hit(f->handler, &f->base, vcpu, kind, &v->context.regs, &fault), was);
}

void live_vcpu_ask(struct fake_live *f, size_t vcpu)
{
	if (f->vcpus[vcpu].held)
		trap(f, vcpu, f->n_hw ? BACKEND_TRAP_KIND_HW : BACKEND_TRAP_KIND_INT3);
}

/* --- steps --- */

static bool hw_trap_at(const struct fake_live *f, uint64_t rip)
{
	for (size_t i = 0; i < f->n_hw; i++)
		if (f->hw[i] == rip)
			return true;
	return false;
}

/* The guest's scheduler: this pass sleeps where it is, or one that slept goes on here. */
static bool reschedule(struct fake_live *f, struct live_context *c)
{
	struct live_context *sleeper = &f->sleepers[fake_live_random(f) % LIVE_SLEEPERS];
	uint64_t dice = fake_live_random(f) % 16;

	if (f->insomnia || dice > 2 || (dice == 0 && sleeper->site < 0))
		return false;
	struct live_context swap = *c;
	*c = *sleeper;
	*sleeper = swap;
	f->mid_sleeps += swap.site >= 0 && (swap.in_callee || inside(&f->sites[swap.site], swap.regs.rip));
	return true;
}

void live_vcpu_step(struct fake_live *f, size_t vcpu)
{
	struct live_vcpu *v = &f->vcpus[vcpu];
	struct live_context *c = &v->context;
	uint8_t code[ARCH_INSN_MAX];

	if (v->held && !v->ask)
		return;
	if (v->held) {
		live_vcpu_ask(f, vcpu);
		return;
	}
	if (reschedule(f, c))
		return;
	if (c->site < 0) {
		pass_begin(f, c);
	} else if (c->in_callee) {
		callee_returns(c);
	} else if (hw_trap_at(f, c->regs.rip)) {
		trap(f, vcpu, BACKEND_TRAP_KIND_HW);
	} else {
		for (size_t i = 0; i < sizeof(code); i++)
			code[i] = fetch_byte(f, v, c->regs.rip - LIVE_GVA + i);
		if (code[0] == 0xcc)
			trap(f, vcpu, BACKEND_TRAP_KIND_INT3);
		else
			native(f, v, code, sizeof(code));
	}
}

void live_vcpu_single_step(struct fake_live *f, size_t vcpu)
{
	struct live_vcpu *v = &f->vcpus[vcpu];

	live_vcpu_serialise(f, vcpu);
	f->steps++;
	if (v->context.site < 0 || v->context.in_callee)
		return;
	uint8_t *code = live_at(f, vcpu, v->context.regs.rip, ARCH_INSN_MAX);
	if (code[0] == 0xcc)
		live_broke(f, "a trap was single-stepped");
	else
		native(f, v, code, ARCH_INSN_MAX);
}

/* rip_counts: a running vCPU's is looked at by the engine, a sleeper's only here. */
bool live_context_inside(const struct fake_live *f, const struct live_context *c, const struct poke_plan *plan,
			 bool rip_counts)
{
	if (c->site < 0)
		return false;
	const struct poke_site *site = &plan->sites[c->site];
	if (!(site->boundaries & (site->boundaries - 1)))
		return false;
	return (c->in_callee && will_return(f, c)) || (rip_counts && inside(site, c->regs.rip));
}
