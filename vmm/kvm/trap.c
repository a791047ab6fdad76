// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vCPU hit a trap: ask the handler, on the vCPU's own thread, and do what it
 * says. What is not ours goes to the guest as its own exception. Must never
 * swallow a trap of the guest, nor give it one of ours.
 */
#include <cpuid.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/arch/arch.h"
#include "vmm/kvm/live.h"
#include "vmm/kvm/machine_private.h"

#define VECTOR_DB 1
#define VECTOR_BP 3
#define RFLAGS_TF (1ull << 8)
#define RFLAGS_RF (1ull << 16)
#define DR6_TRAPS 0xfull
#define DR6_BS	  (1ull << 14)
#define RETRIES_MAX 8

/* Who is asked about one trap. */
struct asked {
	struct backend_hit_handler *handlers[BACKEND_HANDLERS_MAX];
	size_t n;
	uint64_t releases;
};

/*
 * Between these two disarm() waits for this vCPU: the handlers are there until it has its answer, and the
 * copy it is stepped through stays until it is out of it.
 */
static void ask_begin(struct cpu *c, struct asked *ret)
{
	struct machine *m = c->m;

	pthread_mutex_lock(&m->lock);
	ret->n = m->n_armed;
	for (size_t i = 0; i < m->n_armed; i++)
		ret->handlers[i] = m->armed[i].handler;
	ret->releases = c->asked_at = m->releases;
	c->in_hit = m->n_armed > 0;
	pthread_mutex_unlock(&m->lock);
}

static void ask_end(struct cpu *c)
{
	pthread_mutex_lock(&c->m->lock);
	c->in_hit = false;
	if (c->m->disarming)
		pthread_cond_broadcast(&c->m->done);
	pthread_mutex_unlock(&c->m->lock);
}

static void hold(struct cpu *c, uint64_t releases)
{
	pthread_mutex_lock(&c->m->lock);
	c->held = true;
	c->held_since = releases;
	pthread_mutex_unlock(&c->m->lock);
	cpu_attend(c); /* returns when released, disarmed or ended */
}

/*
 * RF lets the instruction under a debug-register trap run. It must not outlive that
 * instruction, and does when an NMI comes first: the frame keeps it for the IRET. So it is
 * set only where a register watches now, which it does here for who runs something else at
 * this address; a late hit finds none and needs none. Where KVM does not honour RF the vCPU
 * is stepped over the instruction with its breakpoints off. Not stepped: wanted elsewhere,
 * or an event comes first; it hits the trap again later.
 */
static int resume_at(struct cpu *c, enum backend_trap kind, uint64_t hit_rip, struct vcpu_regs *regs)
{
	bool again = kind == BACKEND_TRAP_KIND_HW && regs->rip == hit_rip && debug_traps_at(c->m, hit_rip);

	regs->rflags &= ~RFLAGS_RF;
	if (again && c->m->abilities.rf)
		regs->rflags |= RFLAGS_RF;
	int r = cpu_regs_set(c, regs);
	if (r == 0 && again && !c->m->abilities.rf)
		r = step_here(c);
	return r == -ETIMEDOUT || r == -EBUSY ? 0 : r;
}

/*
 * Through the copy at regs->rip, and on behind the original at origin: both have the same
 * length. Not moved (an event or a kick comes first; one round of a repeated one): again.
 */
static int step_through(struct cpu *c, uint64_t origin, struct vcpu_regs *regs)
{
	uint64_t copy = regs->rip;

	regs->rflags &= ~RFLAGS_RF;
	int r = cpu_regs_set(c, regs);
	if (r < 0)
		return r;
	r = step_here(c);
	if (r < 0 && r != -ETIMEDOUT && r != -EBUSY)
		return r;
	r = cpu_regs_at_exit(c, regs);
	if (r < 0)
		return r;
	if (regs->rip - copy > ARCH_INSN_MAX) /* such instructions do not jump and do not fault */
		return -EFAULT;
	regs->rip = origin + (regs->rip - copy);
	return cpu_regs_set(c, regs);
}

static int step_copy(struct cpu *c, uint64_t origin, struct vcpu_regs *regs)
{
	int r = step_through(c, origin, regs);

	ask_end(c);
	return r;
}

/* The guest's #BP pushes the address after its int3. Where KVM took the exit as a failed emulation it does not know that. */
static int deliver_bp(struct cpu *c, struct vcpu_regs *regs)
{
	struct backend_fault fault = { .vector = VECTOR_BP };

	if (c->m->abilities.int3 == MACHINE_INT3_EMULATION_ERROR) {
		regs->rip++;
		int r = cpu_regs_set(c, regs);
		if (r < 0)
			return r;
	}
	return cpu_inject(c, &fault);
}

static int deliver_db(struct cpu *c)
{
	struct backend_fault fault = { .vector = VECTOR_DB };
	struct kvm_debugregs regs;

	if (ioctl(c->fd, KVM_GET_DEBUGREGS, &regs) < 0)
		return -errno;
	regs.dr6 |= c->run->debug.arch.dr6 & (DR6_TRAPS | DR6_BS);
	if (ioctl(c->fd, KVM_SET_DEBUGREGS, &regs) < 0)
		return -errno;
	return cpu_inject(c, &fault);
}

/*
 * A machine check that came while the vCPU was held goes first, as KVM has room for one
 * exception only: nothing is done here, and the vCPU comes to its trap again after it.
 */
static int deliver_fault(struct cpu *c, enum backend_trap kind, struct vcpu_regs *regs,
			 const struct backend_fault *fault /* NULL: the trap itself */)
{
	int r = cpu_event_queued(c);

	if (r != 0)
		return r < 0 ? r : 0;
	if (fault)
		return cpu_inject(c, fault);
	return kind == BACKEND_TRAP_KIND_INT3 ? deliver_bp(c, regs) : deliver_db(c);
}

/* Nobody's who is armed: a 0xCC that is gone from memory was ours a moment ago and is executed anew; else it is the guest's. */
static enum backend_verdict unclaimed(struct cpu *c, enum backend_trap kind, const struct vcpu_regs *regs)
{
	struct backend_fault fault;
	uint8_t byte;

	if (kind == BACKEND_TRAP_KIND_HW)
		return BACKEND_HIT_RESUME;
	if (live_read_virtual(&c->m->base, c->index, regs->rip, &byte, 1, &fault) == 0 && byte != 0xcc)
		return BACKEND_HIT_RESUME;
	return BACKEND_HIT_FOREIGN;
}

/* Each arm() moves releases on, before its first trap byte is written. */
static bool armed_since(struct machine *m, uint64_t releases)
{
	pthread_mutex_lock(&m->lock);
	bool moved = m->releases != releases;
	pthread_mutex_unlock(&m->lock);
	return moved;
}

/* A trap byte that was read while somebody began to arm may be his: held, which asks him at once. */
static enum backend_verdict ask_nobody(struct cpu *c, enum backend_trap kind, const struct vcpu_regs *regs,
				       uint64_t releases)
{
	enum backend_verdict verdict = unclaimed(c, kind, regs);

	if (verdict == BACKEND_HIT_FOREIGN && armed_since(c->m, releases))
		return BACKEND_HIT_HOLD;
	if (verdict == BACKEND_HIT_FOREIGN)
		debug_foreign(c); /* failing it costs exits only */
	return verdict;
}

static enum backend_verdict ask(struct cpu *c, enum backend_trap kind, struct vcpu_regs *regs,
				struct backend_fault *fault, uint64_t *ret_releases)
{
	enum backend_verdict verdict = BACKEND_HIT_FOREIGN;
	struct asked who;

	ask_begin(c, &who);
	*ret_releases = who.releases;
	for (size_t i = 0; i < who.n && verdict == BACKEND_HIT_FOREIGN; i++)
		verdict = who.handlers[i]->hit(who.handlers[i], &c->m->base, c->index, kind, regs, fault);
	if (verdict == BACKEND_HIT_STEP) /* step_copy() ends it */
		return verdict;
	if (who.n)
		ask_end(c);
	return verdict == BACKEND_HIT_FOREIGN ? ask_nobody(c, kind, regs, who.releases) : verdict;
}

static void deliver(struct cpu *c, enum backend_trap kind)
{
	struct machine *m = c->m;
	struct backend_fault fault = { 0 };
	enum backend_verdict verdict = BACKEND_HIT_FOREIGN;
	struct vcpu_regs regs;
	uint64_t releases, rip = 0;
	int r;

	for (;;) {
		r = cpu_regs_at_exit(c, &regs);
		rip = regs.rip;
		if (r < 0)
			break;
		verdict = ask(c, kind, &regs, &fault, &releases);
		if (verdict != BACKEND_HIT_HOLD)
			break;
		hold(c, releases);
		if (machine_ended(m))
			return;
	}
	if (r == 0 && verdict == BACKEND_HIT_RESUME)
		r = resume_at(c, kind, rip, &regs);
	else if (r == 0 && verdict == BACKEND_HIT_STEP)
		r = step_copy(c, rip, &regs);
	else if (r == 0)
		r = deliver_fault(c, kind, &regs, verdict == BACKEND_HIT_FAULT ? &fault : NULL);
	if (r < 0)
		machine_end(m, BACKEND_BROKEN, BACKEND_EVENT_PANICKED, "vCPU %zu: trap at 0x%llx cannot be answered: error %d",
			    c->index, (unsigned long long)rip, -r);
}

static bool host_is_svm(void)
{
	unsigned a, b, c = 0, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1 << 2;
}

/*
 * KVM for AMD steps the guest by TF where an NMI has to wait for an IRET or an interrupt
 * shadow (svm_enable_nmi_window(), arch/x86/kvm/svm/svm.c), and while debug registers of
 * ours are set db_interception() reports the end of its own step to us. It hides that TF
 * from RFLAGS; a guest that steps itself shows it.
 */
static bool is_nmi_window(struct cpu *c)
{
	struct vcpu_regs regs;

	return (c->run->debug.arch.dr6 & DR6_BS) && host_is_svm() && cpu_regs_at_exit(c, &regs) == 0 &&
	       !(regs.rflags & RFLAGS_TF);
}

void trap_debug_exit(struct cpu *c)
{
	const struct kvm_debug_exit_arch *d = &c->run->debug.arch;

	if (d->exception == VECTOR_BP)
		deliver(c, BACKEND_TRAP_KIND_INT3);
	else if (d->dr6 & DR6_TRAPS) /* KVM reports these only while ours are set; one may arrive after they are gone */
		deliver(c, BACKEND_TRAP_KIND_HW);
	else if (is_nmi_window(c))
		return;
	else if (deliver_db(c) < 0) /* the guest's own single-step or ICEBP */
		machine_end(c->m, BACKEND_BROKEN, BACKEND_EVENT_PANICKED, "vCPU %zu: #DB cannot be delivered", c->index);
}

/* KVM says which bytes it failed on, where it knows. */
static bool failed_on_int3(const struct kvm_run *run)
{
	return run->internal.ndata >= 2 &&
	       (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) &&
	       run->emulation_failure.insn_size > 0 && run->emulation_failure.insn_bytes[0] == 0xcc;
}

/*
 * A KVM that interprets cannot do int3. The byte decides; when it is another one by
 * now the vCPU tries again, and only an instruction that fails again is an error. One
 * that was an int3 of ours when KVM read it did not fail, however often that happens.
 */
bool trap_emulation_error(struct cpu *c)
{
	struct backend_fault fault;
	struct vcpu_regs regs;
	uint8_t byte = 0;

	if (cpu_regs_at_exit(c, &regs) < 0 ||
	    live_read_virtual(&c->m->base, c->index, regs.rip, &byte, 1, &fault) < 0)
		return false;
	if (byte == 0xcc) {
		c->retries = 0;
		deliver(c, BACKEND_TRAP_KIND_INT3);
		return true;
	}
	if (c->retry_rip != regs.rip || failed_on_int3(c->run))
		c->retries = 0;
	c->retry_rip = regs.rip;
	return c->retries++ < RETRIES_MAX;
}
