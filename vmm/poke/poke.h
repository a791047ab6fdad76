/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The heart: carries one transaction of text changes into a VM. Knows vCPUs and
 * bytes; knows no QEMU, no JSON, no Linux. What it needs of the outside comes as
 * ops: the backend (vmm/backend.h), who to ask about saved contexts, where to
 * record each state.
 */
#ifndef VMPOKE_VMM_POKE_POKE_H
#define VMPOKE_VMM_POKE_POKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"
#include "vmm/arch/arch.h"
#include "vmm/backend.h"

struct timeline;

#define POKE_SITE_LEN_MAX 64
#define POKE_SITES_MAX 16384
#define POKE_EXCLUSIONS_MAX 16
#define POKE_TRAPS_HW_MAX 4 /* debug registers of an x86 CPU */

enum poke_mode {
	POKE_MODE_STOPPED, /* all vCPUs out of guest mode, check, write, resume */
	POKE_MODE_STAGED,  /* breakpoint road */
	POKE_MODE_HELD,	   /* staged, hits are held until the whole group is done */
	POKE_MODE_FLIPPED, /* page remap */
};

enum poke_state {
	POKE_PLANNED,
	POKE_PAUSED,   /* stopped, some flipped: every vCPU is out of guest mode and outside every range */
	POKE_TRAPPED,  /* staged, held: a trap on each old boundary */
	POKE_TAILED,   /* staged, held: all bytes but the first are new */
	POKE_HEADED,   /* staged, held: first bytes are new */
	POKE_WRITTEN,  /* stopped, flipped: all bytes are new */
	POKE_VERIFIED, /* read back, equal to new */
	POKE_DONE,     /* the VM runs again as it was found */
	POKE_UNDONE,   /* all bytes are old again, the VM runs as it was found */
	POKE_STATE_COUNT,
};

struct poke_site {
	uint64_t gva;
	uint64_t gpa;	   /* of the first byte */
	uint64_t gpa_rest; /* of byte number split, when the site crosses into another page */
	uint8_t len;	   /* 1..POKE_SITE_LEN_MAX */
	uint8_t split;	   /* bytes at gpa; the remaining len - split are at gpa_rest */
	uint8_t old_bytes[POKE_SITE_LEN_MAX];
	uint8_t new_bytes[POKE_SITE_LEN_MAX];
	uint64_t boundaries;	 /* bit i: an OLD instruction begins at offset i; bit 0 is always set */
	uint64_t new_boundaries; /* the same for the new bytes */
	bool operand;		 /* bytes inside an instruction: there is nowhere to put a trap */
	/*
	 * The guest's own data, e.g. the state of a static key: never executed, so no boundaries and no
	 * trap; written by the guest at any time, so only while all vCPUs stand still.
	 */
	bool data;
	char label[96];		 /* "do_idle+0x3c", for sentences */
};

/* Text [start, end) in which no vCPU may stand when old becomes new, e.g. from a lock to its unlock. */
struct poke_exclusion {
	uint64_t start, end;
	/*
	 * Not 0: start is the entry of a function of x86-64 that waits for the u32 its first argument points to, and a
	 * call of it is as good as done once that went from 0 to 1; gate is its first instruction that can
	 * be waited before, after ENDBR64. See gate.c.
	 */
	uint64_t gate;
};

#define POKE_SLOT_LEN	  16   /* room for one instruction */
#define POKE_SLOT_PADDING 0xcc /* each byte of it, before and after */
#define POKE_SLOTS_MAX	  256
#define POKE_SLOT_PAGES	  8 /* they may lie on */

/*
 * Padding of the guest's text: it may be executed and never is (between functions, behind
 * the last one). Whoever plans knows where; the engine checks that it holds 0xCC.
 */
struct poke_slot {
	uint64_t gva, gpa; /* on one page */
};

/* Owned by the caller of plan_build(). Sites are sorted by gva and do not overlap. */
struct poke_plan {
	enum poke_mode mode;
	char why[256];		/* why this mode */
	enum backend_trap trap;	/* staged, held: made of what */
	unsigned caps;		/* of the backend it was made for */
	bool atomic;		/* no vCPU may ever see one site new after another one old */
	size_t n_exclusions;
	struct poke_exclusion exclusions[POKE_EXCLUSIONS_MAX];
	size_t n_sites;
	struct poke_site *sites;
	size_t n_slots;		/* staged: for copies of instructions that must be stepped; 0: who needs one is held */
	struct poke_slot *slots;
	bool needs_quiescence;	/* some site replaces more than one old instruction */
};

/* Figures of a transaction, for the reply and the journal. */
struct poke_stats {
	unsigned barriers;	   /* stages after which every vCPU was serialised */
	unsigned forced_exits;	   /* vCPUs that were taken out of guest mode by us */
	unsigned steps;		   /* single-steps to walk a vCPU out of a range */
	unsigned retries;	   /* pauses given up because something was inside a range */
	unsigned gated;		   /* times a vCPU came to a gate before an excluded range */
	uint64_t longest_pause_us; /* from asking for the stop to the acknowledged resume */
	uint64_t elapsed_us;
	bool tasks_left;	   /* that no task is inside a range was shown by tasks_leave(), not by the scan */

	/* Modes other than stopped. */
	unsigned traps;	      /* times a vCPU came to a trap of ours */
	unsigned held;	      /* ... and had to wait there */
	unsigned copied;      /* ... and was stepped through a copy of the instruction */
	unsigned kicked;      /* vCPUs taken out of guest mode by the barriers */
	unsigned already_out; /* vCPUs that needed nothing: they were out */
	uint64_t waited_us;   /* in barriers, in all */
	uint64_t held_us;     /* longest that one vCPU was held */
};

/*
 * What can be known of, and done about, contexts of the guest that are not in a vCPU's RIP, and its own
 * kernel's changes of text. All but scan() may be NULL: the caller has no such means.
 */
struct poke_quiesce {
	/*
	 * See guest_stacks_scan(). tasks_left: tasks_leave() has succeeded since the traps were set, only the idle
	 * tasks and who is no task are left to look at.
	 * 0: none inside; 1: *e names who is inside; negative: cannot tell (*e says why).
	 */
	int (*scan)(struct poke_quiesce *q, const struct vcpu_regs *regs, size_t n_regs,
		    const struct poke_plan *plan, bool tasks_left, struct err *e);
	/*
	 * Is the guest changing its own text? Asked in the pause of a plan with data sites, which are data of
	 * just that. 0: no; 1: yes, *e says what shows it; negative: cannot tell. NULL: such plans are refused.
	 */
	int (*patching)(struct poke_quiesce *q, struct err *e);
	/*
	 * Does the guest keep a copy of bytes that are about to change, which the text does not show (a kprobe that is
	 * not in force)? Asked in each pause but those of a way back. 0: no; 1: it is just making or
	 * dropping one; negative: yes (ERR_REFUSED), or cannot tell. May be NULL.
	 */
	int (*copied)(struct poke_quiesce *q, struct err *e);
	/*
	 * VM running. Returns 0 when every task but the idle ones has been seen in user mode, or given up its CPU of its
	 * own accord, since the call began: synchronize_rcu_tasks() of a Linux guest. Who sleeps inside
	 * is not waited for. Negative: not known, go on as without.
	 */
	int (*tasks_leave)(struct poke_quiesce *q, uint64_t deadline_us, struct err *e);

	/*
	 * Mode stopped. Instead of the backend's pause() and resume(), with their contracts: the VM is stopped while no code
	 * of the guest's is changing text. -ETIMEDOUT (ERR_TIMEOUT, rule "guest-poking"): some is, all the time.
	 * The backend's stop_asked_us is when the VM came to its last stop. resume() may be asked again when it failed.
	 */
	int (*pause)(struct poke_quiesce *q, struct backend_pause_hook *hook, uint64_t deadline_us,
		     bool *ret_was_running, struct err *e);
	int (*resume)(struct poke_quiesce *q, struct err *e);
	/*
	 * Between them: lets the VM run for about that long, so that who is inside a range may leave it. Stopped as
	 * before when it returns, also when it fails. -EOPNOTSUPP: not this time, resume() and pause() will do.
	 */
	int (*let_run)(struct poke_quiesce *q, uint64_t us, uint64_t deadline_us, struct err *e);
};

/*
 * Told of every state before it takes effect (POKE_PAUSED before the stop, POKE_WRITTEN
 * before the first byte, ...); of POKE_VERIFIED, POKE_DONE and POKE_UNDONE once it is true. A
 * negative return stops the transaction, which is then undone; after the resume (POKE_DONE,
 * POKE_UNDONE) it changes the result no more. Every failure but ERR_ATTENTION ends with POKE_UNDONE,
 * also when nothing had been written. Retries record POKE_PAUSED again.
 */
struct poke_log {
	int (*state)(struct poke_log *log, enum poke_state state, bool was_running, struct err *e);
	/* True when the caller wants the transaction given up (job-cancel). May be NULL. */
	bool (*cancelled)(struct poke_log *log);
	struct timeline *timeline; /* what happened when is recorded there, until poke_run() returns; NULL: nowhere */
};

/*
 * Carries out plan. Returns 0 with all bytes new, or a negative errno with all
 * bytes old: -ETIMEDOUT (ERR_TIMEOUT: something stayed inside a range, *e says who),
 * -ESTALE (ERR_REFUSED: bytes were not the expected old ones), -ECANCELED, -ENOTCONN, -EIO.
 * The one exception is ERR_ATTENTION (-EUCLEAN): neither going on nor going back
 * was possible; *e says which site holds what. The VM is left as it was found.
 * ret_stats is filled on failure too. A plan without sites is done at once, nothing recorded.
 */
int poke_run(struct backend *b, const struct arch_ops *arch, const struct poke_plan *plan,
	     struct poke_quiesce *quiesce, struct poke_log *log, uint64_t timeout_us,
	     struct poke_stats *ret_stats, struct err *e);

/* Reads a site's present bytes (len of them). */
int poke_site_read(struct backend *b, const struct poke_site *site, uint8_t *ret, struct err *e);

/* What a site holds now. Breakpoints of ours are foreign here: see poke_plan_holds(). */
enum poke_holds { POKE_HOLDS_OLD, POKE_HOLDS_NEW, POKE_HOLDS_MIX, POKE_HOLDS_FOREIGN };
/* MIX: every byte is either the old or the new one at its place. FOREIGN: some byte is neither. */
int poke_site_holds(struct backend *b, const struct poke_site *site, enum poke_holds *ret,
		    uint8_t *ret_bytes /* POKE_SITE_LEN_MAX or NULL */, struct err *e);

/* The same of the plan's site number i, where a breakpoint on a boundary may be the transaction's own (staged, held). */
int poke_plan_holds(struct backend *b, const struct poke_plan *plan, size_t i, enum poke_holds *ret,
		    uint8_t *ret_bytes /* POKE_SITE_LEN_MAX or NULL */, struct err *e);

/*
 * Recovery: the same transaction after a crash, VM paused by the caller. Brings every
 * site to all-old (to_new false) or all-new, from any mixture of the two and the
 * transaction's own breakpoints. Staged and held: to new from POKE_HEADED on (vCPUs may
 * be in new code, none is inside an old range), to old before (none was in new code).
 * -EUCLEAN (ERR_ATTENTION) when a site holds foreign bytes: nothing is written then.
 */
int poke_settle(struct backend *b, const struct poke_plan *plan, bool to_new, struct err *e);

/*
 * The same for the plan's slots, whichever way the sites went: a vCPU inside a copy is moved back
 * to where the copy was made from, then every slot becomes padding again. A slot that holds anything
 * but padding and this plan's copy, in any mixture of the two, is not ours any more and left alone.
 * -EUCLEAN (ERR_ATTENTION) when a vCPU stands in the middle of a copied instruction.
 */
int poke_settle_slots(struct backend *b, const struct poke_plan *plan, struct err *e);

/*
 * Kill points (vmm/fault.h), NULL-terminated. The first list is passed by every
 * transaction of mode stopped that succeeds, in this order; those of staged and
 * held, and of flipped, have lists of their own. The rare ones are passed only by
 * some: a site on two pages, a range that needs quiescence, a retry, an undo, a recovery; or by
 * counting hits (count.h).
 */
extern const char *const poke_fault_points[];
extern const char *const poke_fault_points_staged[];
extern const char *const poke_fault_points_flipped[];
extern const char *const poke_fault_points_rare[];

/* Is some site the guest's own data? */
bool poke_plan_has_data(const struct poke_plan *plan);

const char *poke_mode_name(enum poke_mode mode);
int poke_mode_from_name(const char *name); /* -EINVAL; NULL allowed */
const char *poke_trap_name(enum backend_trap trap); /* "int3", "hw" */
int poke_trap_from_name(const char *name); /* -EINVAL; NULL allowed */
const char *poke_state_name(enum poke_state state);
int poke_state_from_name(const char *name); /* -EINVAL */

#endif
