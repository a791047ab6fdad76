/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM whose vCPUs execute while their text changes, for the modes that do not stop
 * it. Between any two bytes the engine stores, vCPUs take random steps; one that has
 * not been serialised since a store fetches, byte by byte, any value that was there
 * since. It sleeps in the middle of ranges, takes traps, is held. A checker watches
 * every instruction and says which rule was broken first. Deterministic: all of it
 * hangs on the seed.
 */
#ifndef VMPOKE_TESTS_FAKE_LIVE_H
#define VMPOKE_TESTS_FAKE_LIVE_H

#include "vmm/poke/poke.h"
#include "vmm/vcpu.h"

#define LIVE_GVA	0xffffffff81000000u
#define LIVE_GPA	0x1000000u
#define LIVE_RAM_SIZE	0x3000u
#define LIVE_STACK_GVA	0xffffc90000000000u
#define LIVE_STACK_SIZE 64u
#define LIVE_VCPUS_MAX	6
#define LIVE_SITES_MAX	12
#define LIVE_SLEEPERS	6
#define LIVE_STORES_MAX 4096
#define LIVE_SLOTS	0x2e00u /* offset of the first one, after all sites */
#define LIVE_SLOTS_MAX	16

/* A thread of the guest: where it stands in one pass through one site. */
struct live_context {
	struct vcpu_regs regs;
	uint8_t stack[LIVE_STACK_SIZE];
	int site;	 /* -1: none, between two passes */
	bool in_callee;	 /* the range called somebody and will be returned to */
	bool begun;	 /* its first instruction was executed ... */
	bool late;	 /* ... after somebody had seen new code */
	struct vcpu_regs end_regs[2]; /* how an all-old and an all-new pass end */
	uint8_t end_stack[2][LIVE_STACK_SIZE];
};

struct live_vcpu {
	struct live_context context;
	bool held, ask;		   /* held: hit() said so; ask: release() came since */
	size_t fetch_from;	   /* number of the first store it may not have seen yet */
	unsigned long serialised;  /* tick */
	int last_version[LIVE_SITES_MAX]; /* executed natively: 0 old, 1 new, -1 neither */
	unsigned long last_tick[LIVE_SITES_MAX];
};

struct live_store {
	size_t at;
	uint8_t before;
};

/* What an engine or a backend could do wrong, done on purpose. */
enum live_sabotage {
	LIVE_HONEST,
	LIVE_NO_BARRIER_AFTER_TRAPPED,
	LIVE_NO_BARRIER_AFTER_TAILED,
	LIVE_HEAD_BEFORE_TAIL,
	LIVE_RELEASE_BEFORE_QUIESCENCE,
	LIVE_FLIP_HALF,
	LIVE_FLIP_UNSERIALISED,
	LIVE_NEVER_HOLD,
};

struct fake_live {
	struct backend base;
	uint8_t ram[LIVE_RAM_SIZE];
	struct live_store stores[LIVE_STORES_MAX];
	size_t n_stores;
	struct live_vcpu vcpus[LIVE_VCPUS_MAX];
	size_t n_vcpus;
	struct live_context sleepers[LIVE_SLEEPERS];
	struct backend_hit_handler *handler;
	uint64_t hw[4];
	size_t n_hw;
	unsigned caps;
	bool running, paused, found_running;
	unsigned long tick;
	uint64_t seed;

	struct poke_plan plan;
	struct poke_slot slots[LIVE_SLOTS_MAX];
	struct poke_site sites[LIVE_SITES_MAX];
	struct poke_quiesce quiesce;
	struct poke_log log;
	int last_state, fail_state; /* -1: none */
	unsigned cancel_after, cancel_calls;

	uint64_t away; /* where vCPUs between two passes stand; 0: far from everything */
	unsigned calls, fail_at, fail_for; /* calls fail_at .. fail_at + fail_for - 1 fail; 0: none */
	enum live_sabotage sabotage;
	bool hide_slots; /* from the address spaces that vCPUs run in */
	bool insomnia; /* nobody sleeps in the middle of a range */
	bool ghosts;   /* words on stacks that look like contexts inside, for ever */
	unsigned leave_calls;

	unsigned barriers, flips, hits, holds, copies, steps, pauses, new_passes, old_passes, mid_sleeps;
	unsigned max_kicked; /* most times one vCPU was taken out of guest mode */
	unsigned kicked[LIVE_VCPUS_MAX];
	bool seen_new;
	const char *broken;	   /* the first rule that was broken */
	const char *broken_atomic; /* old seen after somebody saw new: breaks held and flipped only */
};

/* A VM with n_vcpus running and no sites. */
void fake_live_init(struct fake_live *f, uint64_t seed, size_t n_vcpus);
/* n sites of random shapes; multi: some replace several instructions. */
void fake_live_sites(struct fake_live *f, size_t n, bool multi);
/* One site with these bytes (hex), same length. */
void fake_live_site(struct fake_live *f, const char *old_hex, const char *new_hex);
/* n places for copies of instructions. */
void fake_live_slots(struct fake_live *f, size_t n);
/* Its tasks can be waited for, as by synchronize_rcu_tasks(). */
void fake_live_tasks(struct fake_live *f);
bool fake_live_padded(const struct fake_live *f); /* they are padding again */
uint64_t fake_live_random(struct fake_live *f);
/* Are all sites old (new), and the rest of the text what it was? */
bool fake_live_holds(const struct fake_live *f, bool new_bytes);
/* Lets the guest run on for that many steps. */
void fake_live_run(struct fake_live *f, unsigned steps);

/* fake_live_cpu.c */
void live_broke(struct fake_live *f, const char *rule);
void live_vcpu_step(struct fake_live *f, size_t vcpu);
/* One instruction with what is in memory now, as a debugger steps. */
void live_vcpu_single_step(struct fake_live *f, size_t vcpu);
void live_vcpu_ask(struct fake_live *f, size_t vcpu);
void live_vcpu_serialise(struct fake_live *f, size_t vcpu);
bool live_context_inside(const struct fake_live *f, const struct live_context *c, const struct poke_plan *plan,
			 bool rip_counts);
uint8_t *live_at(struct fake_live *f, size_t vcpu, uint64_t gva, size_t len);

#endif
