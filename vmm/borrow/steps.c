// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The states of a borrowed thread; see steps.h. The stack, from the syscall's own
 * return address at S downwards:
 *
 *	a call			text_mutex
 *	S     back		S     back
 *	S-8   leave		S-8   leave	(the unlock function returns there)
 *	      fn()		S-16  unlock	(lock and sleep return there)
 *					lock(), then msleep() again and again, or another function
 *
 * Must never put a word there that would be wrong to return to without us, and must
 * never touch a context that is not certainly the agent's thread at the entry of
 * its syscall: what it is given comes from a hostile guest.
 */
#include "vmm/borrow/steps.h"

#include <errno.h>
#include <string.h>

#include "vmm/borrow/trial.h"
#include "vmm/fault.h"

#define STACK_SIZE \
	0x4000u /* THREAD_SIZE of x86-64 (arch/x86/include/asm/page_64_types.h); more with KASAN, then its top */
#define STACK_ROOM  0x2000u		  /* left below: what the kernel's own deep paths get by with */
#define KERNEL_HALF 0xff00000000000000ull /* of five levels, which holds that of four */
#define RFLAGS_IF   (1ull << 9)
#define RFLAGS_RF   (1ull << 16)

/* struct pt_regs (arch/x86/include/asm/ptrace.h), the same for user space since 2.6. */
enum {
	PT_R10 = 7,
	PT_DX = 12,
	PT_ORIG_AX = 15,
	PT_CS = 17,
	PT_WORDS = 21,
};

static const enum vcpu_gpr arg_gpr[BORROW_ARGS_MAX] = {
	VCPU_RDI, VCPU_RSI, VCPU_RDX, VCPU_RCX, VCPU_R8, VCPU_R9,
};
static const enum vcpu_gpr callee_saved[] = { VCPU_RBX, VCPU_RBP, VCPU_R12, VCPU_R13, VCPU_R14, VCPU_R15 };

static int word_read(struct borrow_memory *m, uint64_t gva, uint64_t *ret)
{
	return m->read(m, gva, ret, sizeof(*ret));
}

/* A stack of this shape, pt_regs above us on the same one, interrupts on: a syscall that has just begun. */
static bool looks_like_entry(const struct vcpu_regs *r)
{
	uint64_t rsp = r->gpr[VCPU_RSP], regs = r->gpr[VCPU_RDI];

	return vcpu_cpl(r) == 0 && (r->rflags & RFLAGS_IF) && rsp >= KERNEL_HALF && !(rsp & 7) && !(regs & 7) &&
	       regs > rsp && (rsp & ~(uint64_t)(STACK_SIZE - 1)) == (regs & ~(uint64_t)(STACK_SIZE - 1)) &&
	       (regs & (STACK_SIZE - 1)) <= STACK_SIZE - PT_WORDS * 8 && (rsp & (STACK_SIZE - 1)) >= STACK_ROOM;
}

static bool claim_entry(struct borrow_steps *s, struct borrow_memory *m, const struct vcpu_regs *r)
{
	uint64_t pt[PT_WORDS], back;

	if (!looks_like_entry(r) || m->read(m, r->gpr[VCPU_RDI], pt, sizeof(pt)) < 0)
		return false;
	if ((pt[PT_CS] & 3) != 3 || pt[PT_ORIG_AX] != BORROW_SYSCALL || pt[PT_DX] != s->nonce[0] ||
	    pt[PT_R10] != s->nonce[1])
		return false;
	if (word_read(m, r->gpr[VCPU_RSP], &back) < 0 || back < s->text_start || back >= s->text_end)
		return false;
	s->saved = *r;
	s->back = back;
	return true;
}

/* While the thread is inside, its stack is nobody else's: the pointer names it, whatever vCPU it is on. */
static bool claim_return(const struct borrow_steps *s, struct borrow_memory *m, const struct vcpu_regs *r, uint64_t rsp)
{
	uint64_t back;

	return borrow_steps_inside(s) && vcpu_cpl(r) == 0 && r->gpr[VCPU_RSP] == rsp &&
	       word_read(m, s->saved.gpr[VCPU_RSP], &back) == 0 && back == s->back;
}

static bool claim(struct borrow_steps *s, struct borrow_memory *m, const struct vcpu_regs *r, enum borrow_site at)
{
	switch (at) {
	case BORROW_AT_ENTRY:
		/* Another thread with the nonce may come while ours is inside: the stack tells. */
		return (!borrow_steps_inside(s) || r->gpr[VCPU_RDI] == s->saved.gpr[VCPU_RDI]) && claim_entry(s, m, r);
	case BORROW_AT_LEAVE:
		return claim_return(s, m, r, s->saved.gpr[VCPU_RSP]);
	case BORROW_AT_UNLOCK:
		return claim_return(s, m, r, s->saved.gpr[VCPU_RSP] - 8);
	default:
		return false;
	}
}

/* As a CALL would: registers, then the address of the function. */
static void go_to(struct vcpu_regs *r, uint64_t fn, uint64_t rsp)
{
	r->rip = fn;
	r->gpr[VCPU_RSP] = rsp;
	r->gpr[VCPU_RAX] = 0;
	r->rflags &= ~RFLAGS_RF;
}

static void go_to_call(const struct borrow_steps *s, struct vcpu_regs *r, uint64_t rsp)
{
	for (size_t i = 0; i < BORROW_ARGS_MAX; i++)
		r->gpr[arg_gpr[i]] = s->args[i];
	go_to(r, s->fn, rsp);
}

static int start_call(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *r)
{
	uint64_t rsp = s->saved.gpr[VCPU_RSP] - 8;
	int ret = m->write(m, rsp, &s->site[BORROW_AT_LEAVE], 8);

	if (ret == 0)
		go_to_call(s, r, rsp);
	return ret;
}

static int start_lock(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *r)
{
	const uint64_t words[] = { s->site[BORROW_AT_UNLOCK], s->site[BORROW_AT_LEAVE] };
	uint64_t rsp = s->saved.gpr[VCPU_RSP] - sizeof(words);
	int ret = m->write(m, rsp, words, sizeof(words));

	if (ret == 0)
		go_to(r, s->lock_fn, rsp);
	return ret;
}

/* text_mutex is held and the unlock function is about to run: sleep once more before it. */
static int keep(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *r)
{
	uint64_t rsp = s->saved.gpr[VCPU_RSP] - 16;
	int ret = m->write(m, rsp, &s->site[BORROW_AT_UNLOCK], 8);

	if (ret < 0)
		return ret;
	s->stats.keeps++;
	r->gpr[VCPU_RDI] = BORROW_KEEP_MS;
	go_to(r, s->sleep_fn, rsp);
	return 0;
}

/* The same place on the stack as a sleep has: the function returns to the unlock function. */
static int start_call_kept(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *r)
{
	uint64_t rsp = s->saved.gpr[VCPU_RSP] - 16;
	int ret = m->write(m, rsp, &s->site[BORROW_AT_UNLOCK], 8);

	if (ret == 0)
		go_to_call(s, r, rsp);
	return ret;
}

static int finish_kept(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *r)
{
	s->result = r->gpr[VCPU_RAX];
	s->stats.calls++;
	return keep(s, m, r);
}

/* What the RET would do, and nothing of the kernel's in what user space gets. */
static int finish(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *r)
{
	(void)m;
	s->result = r->gpr[VCPU_RAX];
	s->clobbered = false;
	for (size_t i = 0; i < ARRAY_SIZE(callee_saved); i++) {
		enum vcpu_gpr g = callee_saved[i];
		s->clobbered |= r->gpr[g] != s->saved.gpr[g];
		r->gpr[g] = s->saved.gpr[g];
	}
	go_to(r, s->back, s->saved.gpr[VCPU_RSP] + 8);
	s->stats.calls++;
	return 0;
}

/*
 * QEMU on an emulated SVM was seen not to report some hits of debug registers. Then the
 * thread goes its way, which is right, but what we believe of it is not: the rows that end
 * in BORROW_MISSED say so, before a later syscall of the same thread is taken for the call.
 */
static const struct step {
	enum borrow_state from;
	enum borrow_site at;
	int (*verb)(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *r); /* NULL: pass */
	enum borrow_state to;
} table[] = {
	{ BORROW_WANTED, BORROW_AT_ENTRY, start_call, BORROW_CALLED },
	{ BORROW_CALLED, BORROW_AT_LEAVE, finish, BORROW_DONE },
	{ BORROW_LOCK_WANTED, BORROW_AT_ENTRY, start_lock, BORROW_LOCKING },
	{ BORROW_LOCKING, BORROW_AT_UNLOCK, keep, BORROW_KEPT },
	{ BORROW_KEPT, BORROW_AT_UNLOCK, keep, BORROW_KEPT },
	{ BORROW_KEPT_WANTED, BORROW_AT_UNLOCK, start_call_kept, BORROW_KEPT_CALLED },
	{ BORROW_KEPT_CALLED, BORROW_AT_UNLOCK, finish_kept, BORROW_KEPT },
	{ BORROW_RELEASED, BORROW_AT_UNLOCK, NULL, BORROW_LEAVING },
	{ BORROW_RELEASED, BORROW_AT_LEAVE, finish, BORROW_DONE },
	{ BORROW_LEAVING, BORROW_AT_LEAVE, finish, BORROW_DONE },
	{ BORROW_LOCKING, BORROW_AT_LEAVE, NULL, BORROW_MISSED },
	{ BORROW_KEPT, BORROW_AT_LEAVE, NULL, BORROW_MISSED },
	{ BORROW_KEPT_WANTED, BORROW_AT_LEAVE, NULL, BORROW_MISSED },
	{ BORROW_KEPT_CALLED, BORROW_AT_LEAVE, NULL, BORROW_MISSED },
	/* At its next syscall already. */
	{ BORROW_CALLED, BORROW_AT_ENTRY, NULL, BORROW_MISSED },
	{ BORROW_LOCKING, BORROW_AT_ENTRY, NULL, BORROW_MISSED },
	{ BORROW_KEPT, BORROW_AT_ENTRY, NULL, BORROW_MISSED },
	{ BORROW_KEPT_WANTED, BORROW_AT_ENTRY, NULL, BORROW_MISSED },
	{ BORROW_KEPT_CALLED, BORROW_AT_ENTRY, NULL, BORROW_MISSED },
	{ BORROW_RELEASED, BORROW_AT_ENTRY, NULL, BORROW_MISSED },
	{ BORROW_LEAVING, BORROW_AT_ENTRY, NULL, BORROW_MISSED },
};

bool borrow_steps_inside(const struct borrow_steps *s)
{
	return s->state >= BORROW_CALLED && s->state <= BORROW_LEAVING;
}

bool borrow_steps_holds(const struct borrow_steps *s)
{
	return s->state >= BORROW_KEPT && s->state <= BORROW_KEPT_CALLED;
}

static const struct step *step_find(enum borrow_state from, enum borrow_site at)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].from == from && table[i].at == at)
			return &table[i];
	return NULL;
}

static enum borrow_verdict take(struct borrow_steps *s, const struct step *step, struct borrow_memory *m,
				struct vcpu_regs *regs)
{
	struct vcpu_regs next = *regs;
	int r = step->verb ? step->verb(s, m, &next) : 0;

	if (r < 0) {
		/* Passing is right everywhere: what is on the stack already leads out. */
		s->error = r;
		s->state = BORROW_FAILED;
		return BORROW_PASS;
	}
	s->state = step->to;
	if (!step->verb)
		return BORROW_PASS;
	*regs = next;
	return BORROW_GO;
}

static enum borrow_verdict hit_at(struct borrow_steps *s, enum borrow_site at, struct borrow_memory *m,
				  struct vcpu_regs *regs)
{
	s->stats.stops++;
	if (borrow_trial_woke(s, m, regs))
		return BORROW_GO;
	const struct step *step = step_find(s->state, at);
	if (!step || !claim(s, m, regs, at)) {
		s->stats.foreign++;
		return BORROW_PASS;
	}
	switch (borrow_trial_hit(s, (size_t)(step - table) + 1, m, regs)) {
	case BORROW_TRIAL_MISSED: return BORROW_PASS;
	case BORROW_TRIAL_SLEEPS: return BORROW_GO;
	default: return take(s, step, m, regs);
	}
}

enum borrow_verdict borrow_steps_hit(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *regs)
{
	for (enum borrow_site at = 0; at < BORROW_SITES; at++)
		if (s->site[at] && regs->rip == s->site[at])
			return hit_at(s, at, m, regs);
	return BORROW_NOT_OURS;
}

#ifdef VMPOKE_FAULT_POINTS
unsigned borrow_trial_rows(void)
{
	return ARRAY_SIZE(table);
}
#endif
