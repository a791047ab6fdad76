/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM as its worker sees it: the backend while the VM can be reached, the
 * guest kernel while it is known, the journal and the patches it tells of.
 * Every command gets the session and asks for what it needs with
 * session_attach() and session_guest().
 */
#ifndef VMPOKE_VMM_WORKER_SESSION_H
#define VMPOKE_VMM_WORKER_SESSION_H

#include "vmm/backend.h"
#include "vmm/guest/guest.h"
#include "vmm/kind/kind.h"
#include "vmm/worker/agent.h"
#include "vmm/worker/control.h"
#include "vmm/worker/journal.h"
#include "vmm/worker/overlay.h"
#include "vmm/worker/payload_list.h"
#include "vmm/worker/record.h"
#include "vmm/worker/replacing.h"
#include "vmm/worker/trace.h"

struct session_memory {
	struct guest_memory ops;
	struct session *session;
};

struct machine;

/* Who is told how far the work is; see session_progress_begin(). */
struct job_progress {
	bool wanted;
	const char *job_id, *phase; /* phase: the last one told; "" none yet */
	uint64_t since_us;	    /* now_us(): of this second ... */
	unsigned told;		    /* ... so many events */
};

struct session {
	struct backend_target target; /* borrowed strings */
	const char *backend_name;
	const char *state_dir;
	const char *images; /* folder of kernels by build-id, see images.h; NULL: none */
	struct control *control;
	struct journal *journal;

	struct machine *machine; /* our own VM, run by this very process; NULL: another VMM's */
	struct backend *backend; /* NULL while the VM cannot be reached */
	struct backend_info info;
	char reason[256];	 /* why it cannot be reached */
	char refusal[sizeof(((struct err *)0)->rule)]; /* and by which rule that is refused; "" when it is not */
	const char *told_state;	 /* the state clients last heard of; NULL before WORKER_READY */
	json_t *early;		 /* array: patch changes before WORKER_READY, which must come first */
	uint64_t attach_due_us;	   /* now_us(): when the poll loop tries to reach the VM again */
	uint64_t no_attach_before; /* now_us(): reaching the VM took long and failed */

	json_t *by; /* who asked for what is being done, borrowed; NULL: nobody */
	struct worker_agent agent;
	struct session_memory memory;
	const struct patch_record *without; /* planned as if this one were not in; else NULL */
	const struct overlay *overlay; /* laid over what is read of the guest; NULL: memory as it is */
	struct guest *guest;	 /* NULL until probed, and after a reboot */
	struct kind_image image; /* of that guest, from the kernel's file that is our machine's own, or vmpoked's */

	struct patch_list patches;
	struct payload_list payloads; /* memory of the guest that is ours */
	struct transaction *open; /* begun by a dead predecessor, neither ended nor recovered yet */
	enum poke_state open_state; /* the last state it logged */
	bool open_running;	 /* the VM ran before that transaction paused it */
	bool orphan_hold;	 /* a dead predecessor may have left the VM stopped in the middle of a read */
	bool orphan_traps;	 /* ... and traps of its counting in the VMM */
	bool held;		 /* our own hold record is open */
	struct replacing replacing; /* begun, by us or a dead predecessor, and not known to be over */
	uint64_t next_txn;
	size_t compact_above;	 /* bytes of journal */
	struct trace trace;	 /* of the last transaction of this worker */
	struct job_progress progress;
	uint64_t rest_due_us;	 /* now_us(): when memory of no more use is given back; 0: it has been */
	int recovered;		 /* transactions finished or undone and not told of yet */
};

/* The fields that point back into *s; call once, before anything else. */
void session_init(struct session *s);

/* Reads the journal into patches and open. Call once, after journal_open(). */
int session_load(struct session *s, struct err *e);

/*
 * A worker that is not asked anything for REST_AFTER_US gives back what it can make again without
 * stopping its VM; hundreds of VMs are idle at a time. session_used() after each request;
 * session_rest() from the poll loop: does it when it is due. Milliseconds until then, -1: nothing is due.
 */
#define REST_AFTER_US (30u * 1000000u)
void session_used(struct session *s);
int session_rest(struct session *s);

/* Rewrites a journal that has grown large with what still matters; else does nothing. */
void session_compact(struct session *s);
void session_clear(struct session *s);

/*
 * Makes sure the VM is reached, its events are seen and an open transaction is
 * recovered. -ENOTCONN (ERR_INACTIVE) with the reason otherwise.
 */
int session_attach(struct session *s, struct err *e);

/* The same, and the guest's kernel is known and still the one that runs. *ret_cached may be NULL. */
int session_guest(struct session *s, bool *ret_cached, struct err *e);

/* Drains the backend's events: a reboot makes patches lost, a dead monitor detaches. */
void session_events(struct session *s);

/* "running", "paused", "shutdown", "broken", "unreachable". */
const char *session_state(const struct session *s);

/* Why the VM is unreachable, shut down or broken; NULL when there is nothing to say. */
const char *session_reason(const struct session *s);

/* Sends WORKER_READY, then what has happened to patches so far. */
void session_tell_ready(struct session *s);

/* Sends VM_STATE_CHANGE when the state differs from what clients last heard. */
void session_tell_state(struct session *s);

/* Marks every applied patch lost (journal, events): the guest's text is a new one. */
void session_lose_patches(struct session *s);

/*
 * 1 when every site of p holds what was there before the patch; 0 when not; negative errno.
 * session_lose_if_gone() then marks an applied patch lost: the guest booted anew unseen, or
 * somebody else put the bytes back.
 */
int session_holds_old(struct session *s, const struct patch_record *p, struct err *e);
void session_lose_if_gone(struct session *s, struct patch_record *p);

/* Is b another process of the VMM than the one that runs now? False while either is unknown. */
bool session_other_process(const struct session *s, const struct boot *b);

/* Was t made for another boot than the one these facts are of? */
bool session_other_kernel(const struct transaction *t, const struct guest_facts *f);

/* Registers of all vCPUs into regs[VCPU_MAX]; how many, or a negative errno. */
int session_regs(struct session *s, struct vcpu_regs *regs, struct err *e);

/* The boot that runs now. Needs session_guest(). */
struct boot session_boot(const struct session *s);

/* Reads of a backend that must stop the VM for them are announced in the journal, for a worker killed meanwhile. */
int session_hold(struct session *s, struct err *e);
/* The same for traps that outlive a worker, as those of a gdb stub do; always recorded. */
int session_hold_traps(struct session *s, struct err *e);
void session_release(struct session *s);
/* The same for who stops a running VM himself, whatever the backend can read live. */
int session_hold_paused(struct session *s, struct err *e);

/*
 * JOB_PROGRESS events of a request that asked for them ("progress"; args must outlive it): the phase the work
 * comes to, one of resolve, check, trap, sync, write, verify; _state() for what poke_run() logs.
 */
void session_progress_begin(struct session *s, json_t *args);
void session_progress_end(struct session *s);
void session_progress(struct session *s, const char *phase);
void session_progress_state(struct session *s, enum poke_mode mode, enum poke_state state);

/* Sends PATCH_STATUS_CHANGE. */
void session_tell_patch(struct session *s, const char *patch, const char *state, bool changed);

#endif
