/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of jobs: work a worker is doing or has done for a client. Knows
 * nothing of sockets or workers; the owner is told of every change of status.
 */
#ifndef VMPOKE_CONTROL_JOBS_H
#define VMPOKE_CONTROL_JOBS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "protocol/err.h"
#include "protocol/patchfile.h"

struct relay;

#define JOBS_RUNNING_MAX 64	  /* running and aborting */
#define JOBS_RUNNING_RO_MAX 32	  /* of these, started over the read-only socket */
#define JOBS_RUNNING_OWN_MAX 32	  /* with so many running vmpoked begins none of its own: clients come first */
#define JOBS_KEPT_MAX 64	  /* concluded, waiting for job-dismiss */
#define JOBS_KEPT_BYTES (768u << 10) /* results of all kept jobs: query-jobs must fit one message */

enum job_status { JOB_RUNNING, JOB_ABORTING, JOB_CONCLUDED };

struct job {
	TAILQ_ENTRY(job) link;
	char id[PATCHFILE_NAME_MAX + 1];
	char vm[PATCHFILE_NAME_MAX + 1];
	const char *type; /* command name, static */
	bool named;	  /* the client gave the id and watches the job; it stays until dismissed */
	bool read_only;	  /* started over the read-only socket */
	enum job_status status;
	json_t *result;
	size_t result_bytes;
	struct err error; /* kind ERR_NONE when there is none */
	struct relay *relay; /* the owner's, who is doing the work; NULL when concluded */
};

struct jobs;
struct jobs_ops {
	void (*changed)(struct jobs *jobs, const struct job *job);
};

struct jobs {
	const struct jobs_ops *ops;
	TAILQ_HEAD(jobs_list, job) list;
	unsigned long next_auto;
};

void jobs_init(struct jobs *jobs, const struct jobs_ops *ops);
void jobs_done(struct jobs *jobs);

/*
 * A new running job. id NULL: one is made up ("auto-7"). type is static.
 * ERR_USAGE for an illegal id, ERR_REFUSED (rule "exists", -EEXIST) for one in
 * use, ERR_TIMEOUT (rule "busy", -EBUSY) when too many run.
 */
int jobs_add(struct jobs *jobs, const char *id, const char *type, const char *vm, bool read_only,
	     struct job **ret, struct err *e);

/* result borrowed; exactly one of result and error is set. A job without a name is gone afterwards. */
void jobs_conclude(struct jobs *jobs, struct job *job, json_t *result, const struct err *error);

/* To "aborting": true when it was running. */
bool jobs_abort(struct jobs *jobs, struct job *job);

/* NULL when there is none; *e (may be NULL) then says so. */
struct job *jobs_find(struct jobs *jobs, const char *id, struct err *e);

/* Forgets a concluded job; ERR_NOT_FOUND, or ERR_REFUSED (rule "running"). */
int jobs_dismiss(struct jobs *jobs, const char *id, struct err *e);

/* How many have not concluded. */
size_t jobs_running(const struct jobs *jobs);

json_t *jobs_query(const struct jobs *jobs);
const char *job_status_name(enum job_status status);

#endif
