// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of jobs; see jobs.h. What clients can make it hold is bounded in
 * number and bytes. Must never wait and never talk to anybody but its owner.
 */
#include "vmm/control/jobs.h"

#include <errno.h>
#include <string.h>

#include "protocol/qmp.h"

static const char *const status_names[] = {
	[JOB_RUNNING] = "running",
	[JOB_ABORTING] = "aborting",
	[JOB_CONCLUDED] = "concluded",
};

const char *job_status_name(enum job_status status)
{
	return status_names[status];
}

void jobs_init(struct jobs *jobs, const struct jobs_ops *ops)
{
	jobs->ops = ops;
	jobs->next_auto = 1;
	TAILQ_INIT(&jobs->list);
}

static void job_drop(struct jobs *jobs, struct job *job)
{
	TAILQ_REMOVE(&jobs->list, job, link);
	json_decref(job->result);
	free(job);
}

void jobs_done(struct jobs *jobs)
{
	while (!TAILQ_EMPTY(&jobs->list))
		job_drop(jobs, TAILQ_FIRST(&jobs->list));
}

static struct job *job_lookup(struct jobs *jobs, const char *id)
{
	struct job *job;

	TAILQ_FOREACH(job, &jobs->list, link)
		if (strcmp(job->id, id) == 0)
			return job;
	return NULL;
}

struct job *jobs_find(struct jobs *jobs, const char *id, struct err *e)
{
	struct job *job = job_lookup(jobs, id);

	if (!job)
		err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "no job with id '%.64s'", id);
	return job;
}

/* Counts what still runs; a crowd on the read-only socket must leave room for the others. */
static int jobs_room(const struct jobs *jobs, bool read_only, struct err *e)
{
	size_t running = 0, running_ro = 0;
	const struct job *job;

	TAILQ_FOREACH(job, &jobs->list, link) {
		running += job->status != JOB_CONCLUDED;
		running_ro += job->status != JOB_CONCLUDED && job->read_only;
	}
	if (running >= JOBS_RUNNING_MAX || (read_only && running_ro >= JOBS_RUNNING_RO_MAX))
		return err_set(e, ERR_TIMEOUT, EBUSY, "busy", "%zu jobs are running already; try again later", running);
	return 0;
}

/* A client may have taken the next number as a name of its own: skip those. */
static void job_make_id(struct jobs *jobs, char *id, size_t cap)
{
	do {
		snprintf(id, cap, "auto-%lu", jobs->next_auto++);
	} while (job_lookup(jobs, id));
}

int jobs_add(struct jobs *jobs, const char *id, const char *type, const char *vm, bool read_only,
	     struct job **ret, struct err *e)
{
	if (id && !patch_name_valid(id))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'job-id' must begin with a letter or digit and hold only "
			       "letters, digits, '.', '_' and '-' (at most %d)", PATCHFILE_NAME_MAX);
	if (id && job_lookup(jobs, id))
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "Job ID '%s' already in use", id);
	int r = jobs_room(jobs, read_only, e);
	if (r < 0)
		return r;
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (id)
		snprintf(job->id, sizeof(job->id), "%s", id);
	else
		job_make_id(jobs, job->id, sizeof(job->id));
	snprintf(job->vm, sizeof(job->vm), "%s", vm);
	job->type = type;
	job->named = id;
	job->read_only = read_only;
	TAILQ_INSERT_TAIL(&jobs->list, job, link);
	jobs->ops->changed(jobs, job);
	*ret = job;
	return 0;
}

/* The oldest concluded job; of the read-only socket first, its users cannot dismiss. */
static struct job *jobs_oldest_kept(struct jobs *jobs)
{
	struct job *job, *oldest = NULL;

	TAILQ_FOREACH(job, &jobs->list, link) {
		if (job->status != JOB_CONCLUDED)
			continue;
		if (job->read_only)
			return job;
		if (!oldest)
			oldest = job;
	}
	return oldest;
}

static void jobs_trim(struct jobs *jobs)
{
	for (;;) {
		size_t count = 0, bytes = 0;
		const struct job *job;

		TAILQ_FOREACH(job, &jobs->list, link) {
			count += job->status == JOB_CONCLUDED;
			bytes += job->result_bytes;
		}
		if (count <= JOBS_KEPT_MAX && bytes <= JOBS_KEPT_BYTES)
			return;
		job_drop(jobs, jobs_oldest_kept(jobs));
	}
}

void jobs_conclude(struct jobs *jobs, struct job *job, json_t *result, const struct err *error)
{
	job->status = JOB_CONCLUDED;
	if (error)
		job->error = *error;
	if (result && job->named) {
		job->result_bytes = json_dumpb(result, NULL, 0, JSON_ENSURE_ASCII);
		if (job->result_bytes > JOBS_KEPT_BYTES) {
			err_set(&job->error, ERR_FAILED, EFBIG, NULL, "done, but the result of %zu bytes is too large to "
				"keep; ask again without 'job-id'", job->result_bytes);
			job->result_bytes = 0;
		} else {
			job->result = json_incref(result);
		}
	}
	jobs->ops->changed(jobs, job);
	if (!job->named)
		job_drop(jobs, job);
	else
		jobs_trim(jobs);
}

bool jobs_abort(struct jobs *jobs, struct job *job)
{
	if (job->status != JOB_RUNNING)
		return false;
	job->status = JOB_ABORTING;
	jobs->ops->changed(jobs, job);
	return true;
}

int jobs_dismiss(struct jobs *jobs, const char *id, struct err *e)
{
	struct job *job = jobs_find(jobs, id, e);

	if (!job)
		return -ENOENT;
	if (job->status != JOB_CONCLUDED)
		return err_set(e, ERR_REFUSED, EBUSY, "running", "job '%s' is still %s", id, job_status_name(job->status));
	job_drop(jobs, job);
	return 0;
}

static json_t *job_to_json(const struct job *job)
{
	json_int_t progress = job->status == JOB_CONCLUDED;
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:i}", "id", job->id, "type", job->type, "vm", job->vm,
			      "status", job_status_name(job->status), "current_progress", progress,
			      "total_progress", 1);

	if (o && job->result)
		json_object_set(o, "result", job->result);
	if (o && job->error.kind != ERR_NONE) { /* the formatter repairs a text that is not UTF-8 */
		json_t *error = qmp_error_to_json(&job->error);
		json_object_set(o, "error", json_object_get(error, "desc"));
		json_decref(error);
	}
	return o;
}

json_t *jobs_query(const struct jobs *jobs)
{
	json_t *list = json_array();
	const struct job *job;

	TAILQ_FOREACH(job, &jobs->list, link)
		json_array_append_new(list, job_to_json(job));
	return list;
}

size_t jobs_running(const struct jobs *jobs)
{
	const struct job *job;
	size_t n = 0;

	TAILQ_FOREACH(job, &jobs->list, link)
		n += job->status != JOB_CONCLUDED;
	return n;
}
