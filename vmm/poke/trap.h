/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU came to a trap: whose is it, and what does the vCPU go on with? Asked on
 * vCPU threads, several at once, while the engine moves the stages on: a phase
 * changes only between two answers, never during one. The private part of a
 * transaction that its vCPUs see; outlives it only where disarming failed.
 */
#ifndef VMPOKE_VMM_POKE_TRAP_H
#define VMPOKE_VMM_POKE_TRAP_H

#include <pthread.h>
#include <stdatomic.h>

#include "vmm/poke/poke.h"

enum poke_phase {
	POKE_PHASE_GATHER, /* traps are being set, or contexts may still stand inside a range */
	POKE_PHASE_SWITCH, /* nothing stands inside a range any more; bytes are changing */
	POKE_PHASE_BACK,   /* old bytes are coming back, no new one was ever fetched */
	POKE_PHASE_OVER,   /* no trap is left: who comes late executes what is there */
};

/*
 * What can be done by hand from which old boundary. Inside: contexts walk out of
 * the range on the old code. From the first boundary a walk must not leave anything
 * behind that points into the range, as a call's return address would.
 */
struct poke_walk {
	uint64_t old_from; /* bit i: the old code can be walked from offset i to the end */
	bool old_whole;	   /* ... and from 0, leaving nothing behind */
	bool new_whole;	   /* the new code, from 0, leaving nothing behind */
};

/* An instruction of a site that lies in a slot as well; copy.c. */
struct poke_copy {
	size_t site;
	uint8_t offset, len;
	bool is_new;
	struct poke_slot slot;
	uint8_t bytes[POKE_SLOT_LEN];
};

struct poke_hold {
	uint64_t since; /* 0: not held */
	uint64_t rip;	/* where */
};

struct poke_traps {
	struct backend_hit_handler handler;
	struct poke_traps *next; /* abandoned ones */
	const struct arch_ops *arch;
	const struct poke_plan *plan;
	struct poke_walk *walks; /* one per site */
	struct poke_copy *copies; /* room for n_slots of the plan */
	size_t n_copies;
	bool copied; /* they are in the guest's memory */
	struct poke_hold *holds; /* one per vCPU, used by its own thread only */
	size_t n_vcpus;
	pthread_rwlock_t lock; /* of phase: answers share it, a change excludes them */
	enum poke_phase phase;
	atomic_uint hits, held, stepped;
	atomic_uint_fast64_t held_us;
	struct timeline *timeline; /* NULL: none, and once abandoned; guarded by lock */
};

int poke_traps_new(const struct arch_ops *arch, const struct poke_plan *plan, size_t n_vcpus, struct poke_traps **ret,
		   struct err *e);
void poke_traps_free(struct poke_traps *traps); /* NULL allowed */
/* Instead of free where disarming failed: vCPUs may still come to it. */
void poke_traps_abandon(struct poke_traps *traps);
void poke_traps_phase(struct poke_traps *traps, enum poke_phase phase);
/* Disarmed: who was still held went on at that time without asking. */
void poke_traps_let_go(struct poke_traps *traps, uint64_t when_us);
void poke_traps_count(struct poke_traps *traps, struct poke_stats *stats);

/* copy.c */
int poke_copies_prepare(struct poke_traps *traps, struct err *e);
const struct poke_copy *poke_copy_find(const struct poke_traps *traps, size_t site, size_t offset, bool is_new);

/* walk.c */
void poke_walk_prepare(const struct arch_ops *arch, const struct poke_site *site, struct poke_walk *ret);
bool poke_walk_old_whole(const struct arch_ops *arch, const struct poke_site *site);
/*
 * Can no task sleep inside the old code, behind its first boundary? No call returns inside, and nothing
 * there touches memory that may have to be waited for.
 */
bool poke_walk_sleepless(const struct arch_ops *arch, const struct poke_site *site);

/*
 * Executes instructions of bytes (the site's old or new ones) by hand until RIP is
 * outside the site or at its first byte again. 0: *regs is where it came to. -EFAULT:
 * the first instruction faults, *fault says how. -EOPNOTSUPP: not by hand. The last
 * two leave everything as it was.
 */
int poke_walk(const struct arch_ops *arch, const struct poke_site *site, const uint8_t *bytes, struct vcpu_regs *regs,
	      struct arch_access *memory, struct arch_fault *fault);

#endif
