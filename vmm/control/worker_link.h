/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's side of one worker process: starts it, gives it one request at a
 * time with a deadline, restarts it with back-off when it dies. A hostile guest
 * may own the worker, so whatever breaks the rules gets it killed; the journal
 * brings the VM back in order.
 * The worker of a machine is the machine: it is never restarted, outlives the
 * daemon, and what breaks the rules gets it hung up on, not killed.
 */
#ifndef VMPOKE_CONTROL_WORKER_LINK_H
#define VMPOKE_CONTROL_WORKER_LINK_H

#include <jansson.h>
#include <sys/queue.h>

#include "vmm/control/channel.h"
#include "vmm/control/launch.h"
#include "vmm/control/worker_spawn.h"

#define WORKER_READY_US (60 * 1000000ull)   /* includes waiting for a predecessor and recovery */
#define WORKER_STABLE_US (10 * 1000000ull)  /* ready for so long: back-off starts anew */
#define WORKER_BACKOFF_MAX_S 30u
#define WORKER_CALLS_MAX 128		    /* queued for one worker */
#define WORKER_EVENTS_PER_S 500u

enum worker_state {
	WORKER_OFF,	 /* no process, none wanted */
	WORKER_STARTING, /* recovery; nothing is sent yet */
	WORKER_READY,
	WORKER_ENDING,	 /* it broke a rule or hung up; its exit is awaited */
	WORKER_BACKOFF,	 /* no process, the next one starts soon */
	WORKER_STOPPING, /* told to end for good */
};

/* One request. Owned by the caller until done(), which is called exactly once, and may free it. */
struct worker_call {
	const char *command; /* static */
	bool array;	     /* the answer is an array, not an object */
	uint64_t budget_us;  /* from sending to the answer; beyond that the worker is killed */
	bool has_file;	     /* file goes along with it (SCM_RIGHTS); taken by worker_call() */
	int file;
	/* value is borrowed, NULL on error. Never called from inside worker_call(). */
	void (*done)(struct worker_call *call, json_t *value, const struct err *e);
	TAILQ_ENTRY(worker_call) link; /* private, like the rest */
	uint64_t serial;
	char *line; /* until sent */
};

struct worker;
struct worker_ops {
	void (*ready)(struct worker *w, json_t *data); /* WORKER_READY; data is an object of the worker's making */
	void (*event)(struct worker *w, const char *name, json_t *data); /* any other event it may send */
	void (*died)(struct worker *w, const char *why, unsigned restart_ms); /* may call worker_stop() */
	/* Machines only: its process could not make the machine, and says why. It ends next. */
	void (*failed)(struct worker *w, const struct err *e);
	/* Machines only: process and machine are no more. May launch the next one, or call worker_stop(). */
	void (*ended)(struct worker *w, const char *why);
	void (*gone)(struct worker *w); /* after worker_stop(), from the loop; may free */
};

struct worker {
	const struct worker_ops *ops;
	const struct worker_config *config;
	const struct registry_entry *entry;
	sd_event *event;
	enum worker_state state;
	pid_t pid;
	int pidfd;     /* of a machine that another daemon started: no child of ours; else -1 */
	bool promised; /* a machine that was ready once: it is not killed for what its worker does */
	struct channel channel;
	sd_event_source *child, *timer; /* child: its exit, by either way */
	TAILQ_HEAD(worker_calls, worker_call) calls; /* the first one is with the worker when sent is set */
	size_t n_calls;
	bool sent;
	uint64_t serial;	/* of the last call */
	uint64_t ready_since;
	unsigned failures, restart_ms;
	uint64_t events_since;	/* start of the present second of event counting */
	unsigned events;
	char why[256];		/* why it is ENDING */
};

int worker_init(struct worker *w, sd_event *event, const struct worker_ops *ops,
		const struct worker_config *config, const struct registry_entry *entry);
void worker_done(struct worker *w);

/* First start. Fails when the program cannot be started at all. */
int worker_start(struct worker *w, uint64_t ready_us, struct err *e);

/* A start that failed is a death like any other: retried with back-off. */
void worker_start_or_retry(struct worker *w);

/* Machines: starts the one that entry describes. l is borrowed. */
int worker_launch(struct worker *w, const struct launch *l, struct err *e);

/* Machines: connects to the one that should be there, with back-off; ops->ended when there is none. */
void worker_reach(struct worker *w);

/* Machines: kills it at once; ops->ended follows. -ESRCH when there is no process to be found. */
int worker_kill(struct worker *w);

/*
 * Ends it: its control socket is closed, it finishes or undoes what it is doing.
 * kill_after_us 0: it is never killed. ops->gone follows. A machine is killed at once,
 * or with 0 left running, and not waited for.
 */
void worker_stop(struct worker *w, uint64_t kill_after_us);

/* Queues a call (args borrowed, may be NULL); an error when the queue is full or the worker is down. */
int worker_call(struct worker *w, struct worker_call *call, json_t *args, struct err *e);

/* Takes a call back that was not sent yet: true, and done() will not be called. */
bool worker_call_withdraw(struct worker *w, struct worker_call *call);

/* Asks a worker to give up the job it is at. */
void worker_cancel(struct worker *w, const char *job_id);

/* How long to wait before the next start after so many deaths in a row. */
unsigned worker_backoff_ms(unsigned failures);

/* Kills a worker that broke a rule; it is restarted. */
void worker_fail(struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
