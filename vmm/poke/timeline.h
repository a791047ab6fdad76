/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happened when, on which vCPU, during one transaction: recorded by the
 * engine and by the vCPU threads, shown afterwards as a Chrome/Perfetto trace or
 * a picture. Recording takes no lock, allocates nothing and never waits, as it
 * is done with a vCPU held in the host; what does not fit is counted, not kept.
 */
#ifndef VMPOKE_VMM_POKE_TIMELINE_H
#define VMPOKE_VMM_POKE_TIMELINE_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define TIMELINE_TEXT_MAX   40	  /* with the NUL; longer is cut */
#define TIMELINE_EVENTS_MAX 16384 /* of all vCPUs together */
#define TIMELINE_ENGINE_MAX 512	  /* of the engine: a storm of traps must not hide the stages */
#define TIMELINE_VCPUS_MAX  512
#define TIMELINE_ENGINE	    (-1)

enum timeline_kind {
	/* of the engine */
	TIMELINE_STAGE,	  /* span: a state of the transaction, text its name */
	TIMELINE_BARRIER, /* span */
	TIMELINE_FLIP,	  /* span: the remap */
	TIMELINE_SCAN,	  /* span: does anything stand inside a range? */
	TIMELINE_PAUSE,	  /* span: every vCPU is stopped */
	/* of a vCPU */
	TIMELINE_KICK,	/* taken out of guest mode; a span lasts until it re-entered */
	TIMELINE_TRAP,	/* hit a staged site; text is the answer (emulated, stepped, foreign, late) */
	TIMELINE_HOLD,	/* span: kept in the host */
	TIMELINE_FAULT, /* an access that faulted: on a zapped page, or delivered to the guest */
	TIMELINE_NMI,	/* injected or seen */
	TIMELINE_KIND_COUNT,
};

struct timeline_event {
	uint64_t start_us, end_us; /* now_us(); equal for a moment */
	uint64_t gva;		   /* what it is about; 0: nothing */
	int vcpu;		   /* TIMELINE_ENGINE or 0 .. TIMELINE_VCPUS_MAX - 1 */
	enum timeline_kind kind;
	char text[TIMELINE_TEXT_MAX]; /* printable ASCII */
};

struct timeline;

/* max: vCPU events to keep, 1..TIMELINE_EVENTS_MAX. NULL when out of memory. */
struct timeline *timeline_new(size_t max);
/* Only when no vCPU thread records any more, that is after traps were disarmed. NULL allowed. */
void timeline_free(struct timeline *t);
DEFINE_CLEANUP(struct timeline, timeline_free)

/* Any thread. t NULL: nothing is recorded. text may be NULL; bytes that are not printable ASCII become '?'. */
void timeline_add(struct timeline *t, enum timeline_kind kind, int vcpu, uint64_t start_us, uint64_t end_us,
		  uint64_t gva, const char *text);

/* What has been recorded, in order of start. */
struct timeline_record {
	char title[160]; /* filled in by the caller; any text */
	size_t vcpus;	 /* lanes; timeline_read() sets it to what the events need */
	size_t n, lost;	 /* events kept, and events that did not fit */
	struct timeline_event *events;
};

/* May run while others record: gives what is complete by then. */
int timeline_read(struct timeline *t, struct timeline_record *ret, struct err *e);
void timeline_record_clear(struct timeline_record *r);

const char *timeline_kind_name(enum timeline_kind kind);

/*
 * The record as text, to be freed by the caller: Chrome's trace event format
 * (chrome://tracing, ui.perfetto.dev), and a self-contained SVG picture.
 * -ENOMEM is the only failure; any record gives well-formed text of bounded size.
 */
int timeline_json(const struct timeline_record *r, char **ret, struct err *e);
int timeline_svg(const struct timeline_record *r, char **ret, struct err *e);

#endif
