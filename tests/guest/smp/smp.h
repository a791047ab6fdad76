/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the bare SMP test guest and the host program that drives it share: where
 * things lie in guest-physical memory (which is also guest-virtual: the guest
 * runs on identity page tables) and the records they write to each other. Fixed
 * width, no pointers; the host writes text and tables before the vCPUs start,
 * the guest never writes to its own text.
 *
 * How the guest judges. Sites belong to groups; a group is what one transaction
 * changes. group.seq counts stages: 4n stable old, 4n+1 changing, 4n+2 stable
 * new, 4n+3 changing back; the host adds one before and one after each
 * transaction. A vCPU reads seq, runs a site, reads seq again. Both the same and
 * stable: exactly one result is legal, since a transaction that has been reported
 * done must be seen by every vCPU. Otherwise old or new, and nothing else.
 *
 * Pairs: both halves of a pair are in one group unless the host wants to see the
 * check fail. Seen one after the other while at most one change took place, the
 * first half may not show the later text when the second still shows the earlier.
 */
#ifndef VMPOKE_TESTS_GUEST_SMP_H
#define VMPOKE_TESTS_GUEST_SMP_H

#define SMP_MAGIC      0x706d7331656b6f70 /* "poke1smp" */
#define SMP_VCPUS_MAX  64
#define SMP_SITES_MAX  16384
#define SMP_GROUPS_MAX 4096
#define SMP_PAIRS_MAX  64

#define SMP_CONTROL 0x0100000 /* struct smp_control; the image goes on behind it */
#define SMP_VCPUS   0x0400000 /* struct smp_vcpu [SMP_VCPUS_MAX] */
#define SMP_GROUPS  0x0480000 /* struct smp_group [SMP_GROUPS_MAX] */
#define SMP_PAIRS   0x0500000 /* struct smp_pair [SMP_PAIRS_MAX] */
#define SMP_SITES   0x0600000 /* struct smp_site [SMP_SITES_MAX] */
#define SMP_TEXT    0x1000000 /* what is patched, and nothing else */
#define SMP_MEMORY  0x8000000 /* the guest is given this much */

/* Top of a vCPU's stack; the host scans it for saved contexts. */
#define SMP_STACKS	    0x0800000
#define SMP_STACK_SIZE	    0x4000
#define SMP_STACK_TOP(vcpu) (SMP_STACKS + ((vcpu) + 1ul) * SMP_STACK_SIZE)

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Who runs a site. Sites are sorted by it. */
enum smp_context { SMP_IN_MAIN, SMP_IN_NMI, SMP_IN_MCE, SMP_IN_TIMER, SMP_CONTEXTS };

enum smp_violation {
	SMP_VIOLATION_NONE,
	SMP_VIOLATION_RESULT,	 /* neither the old nor the new result */
	SMP_VIOLATION_STALE,	 /* a legal result, but not of the text that all vCPUs must see by now */
	SMP_VIOLATION_PAIR,	 /* one half new, then the other half old */
	SMP_VIOLATION_EXCEPTION, /* site: vector; value: error code; expected: RIP */
	SMP_VIOLATION_NESTED,	 /* an NMI in the handler of another one; as EXCEPTION */
	SMP_VIOLATION_KINDS,
};

struct smp_range {
	uint32_t first, count;
};

/* Written by the host; all but stop before the start. */
struct smp_control {
	uint64_t magic;
	uint32_t vcpus;
	uint32_t has_apic;    /* an in-kernel irqchip: use its timer */
	uint32_t timer_count; /* initial count of the APIC timer, divided by 16 */
	uint32_t pairs;
	struct smp_range sites[SMP_CONTEXTS];
	uint32_t stop;	  /* finish your round, then rest */
	uint32_t use_mce; /* machine checks will come */
	uint32_t nmi_wait; /* an NMI's handler waits at its start while this is set */
	uint32_t iret;	   /* execute one each round */
	uint32_t pad[4];
};

struct smp_site {
	uint64_t entry;	     /* a function without arguments */
	uint64_t results[2]; /* old, new */
	uint32_t group;
	uint32_t pad;
};

struct smp_pair {
	uint32_t sites[2]; /* first, second */
};

struct smp_group {
	uint64_t seq;
	uint64_t pad[7]; /* a cache line each */
};

/* Written by that vCPU only. */
struct smp_vcpu {
	uint64_t iterations;		       /* rounds over all sites */
	uint64_t checks;		       /* results looked at */
	uint64_t exact;			       /* of them: exactly one was legal */
	uint64_t pairs_checked, pairs_between; /* of those: a change was seen between the halves */
	uint64_t nmi_seen, mce_seen, timer_seen;
	uint64_t violations[SMP_VIOLATION_KINDS];
	uint32_t running, resting, dead;
	/* The first violation. */
	uint32_t kind;
	uint64_t site, value, expected, seq;
	uint64_t nmi_rip, mce_rip; /* what the last one interrupted */
	uint64_t in_nmi;	   /* handlers of NMIs that have begun and not ended: never more than one */
	uint64_t pad[9];	   /* lines of its own */
};

_Static_assert(sizeof(struct smp_control) == 88, "layout of struct smp_control");
_Static_assert(sizeof(struct smp_site) == 32, "layout of struct smp_site");
_Static_assert(sizeof(struct smp_group) == 64, "layout of struct smp_group");
_Static_assert(sizeof(struct smp_vcpu) == 256, "layout of struct smp_vcpu");
#endif
#endif
