/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting how often an instruction is executed, by the traps that text changes use as
 * well. The trap is a debug register: nothing is written to guest memory, so whoever
 * dies in the middle leaves no byte behind.
 *
 * Where traps are answered while vCPUs run (ops->live) only the vCPU that comes there
 * leaves the guest, for one exit. Elsewhere every hit stops all vCPUs for a step, which
 * is why hits per second are capped: beyond that counting ends by itself.
 */
#ifndef VMPOKE_VMM_POKE_COUNT_H
#define VMPOKE_VMM_POKE_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/err.h"
#include "vmm/arch/arch.h"
#include "vmm/backend.h"

#define COUNT_RATE_LIVE	   20000 /* hits per second at most, unless asked for otherwise */
#define COUNT_RATE_STOPPED 50
#define COUNT_RATE_WINDOW_US 250000u /* over which they are counted: a quarter of them may come at once */

struct count_request {
	uint64_t gva;			/* where an instruction of the kernel begins */
	uint8_t insn[ARCH_INSN_MAX];	/* its bytes, for doing it by hand */
	uint8_t insn_len;
	uint64_t duration_us;
	unsigned max_rate; /* hits per second; 0: the backend's default above */
};

enum count_end {
	COUNT_END_TIME,	     /* duration_us is over */
	COUNT_END_RATE,	     /* more than max_rate hits per second */
	COUNT_END_ASKED,     /* tick() said so */
	COUNT_END_STOPPED,   /* somebody else stopped the VM, or it ended */
};

struct count_figures {
	enum count_end end;
	uint64_t hits;
	uint64_t elapsed_us; /* from the armed trap to its removal */
	unsigned stops;	     /* times all vCPUs stood still; 0 with ops->live */
	uint64_t stopped_us; /* ... for so long in all, from when we knew of the stop */
	uint64_t longest_us; /* ... and at once */
};

/* Embedded in the caller's object. */
struct count_watch {
	/* Called at least once a second, on the engine's thread, with what is known so far. True: end it. */
	bool (*tick)(struct count_watch *w, const struct count_figures *now);
};

/*
 * Counts until *ret->end. The VM is left as it was found, without the trap; *ret is filled on
 * failure too. -EOPNOTSUPP (ERR_REFUSED, rule "trap") where there are no debug registers;
 * -EUCLEAN (ERR_ATTENTION) when they could not be cleared, or the VM not be let go.
 */
int poke_count(struct backend *b, const struct arch_ops *arch, const struct count_request *request,
	       struct count_watch *watch, struct count_figures *ret, struct err *e);

const char *count_end_name(enum count_end end); /* "time", "rate", "asked", "stopped" */

/* count.c, for the two ways below: has the rate of the last window passed the cap? */
struct count_rate {
	unsigned max;
	uint64_t since_us, hits; /* when the window began, and what had been counted then */
};
bool count_rate_passed(struct count_rate *rate, uint64_t hits, uint64_t now_us);

/* count_live.c, count_stopped.c */
int count_live(struct backend *b, const struct arch_ops *arch, const struct count_request *request,
	       struct count_watch *watch, struct count_figures *ret, struct err *e);
int count_stopped(struct backend *b, const struct count_request *request, struct count_watch *watch,
		  struct count_figures *ret, struct err *e);

#endif
