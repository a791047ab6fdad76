// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of jobs: life of a job, and the limits on what clients can make it hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/control/jobs.h"

struct fixture {
	struct jobs jobs;
	char log[512]; /* "ID STATUS;" for each change */
};

static void on_changed(struct jobs *jobs, const struct job *job)
{
	struct fixture *f = container_of(jobs, struct fixture, jobs);
	size_t len = strlen(f->log);

	snprintf(f->log + len, sizeof(f->log) - len, "%s %s;", job->id, job_status_name(job->status));
}

static const struct jobs_ops ops = { .changed = on_changed };

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	jobs_init(&f.jobs, &ops);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	jobs_done(&f->jobs);
	return 0;
}

static struct job *add(struct fixture *f, const char *id, bool read_only)
{
	struct job *job = NULL;
	struct err e;

	if (jobs_add(&f->jobs, id, "patch-apply", "web1", read_only, &job, &e) < 0)
		fail_msg("%s", e.text);
	return job;
}

static size_t count(struct fixture *f)
{
	json_t *list = jobs_query(&f->jobs);
	size_t n = json_array_size(list);

	json_decref(list);
	return n;
}

static void test_life_of_a_named_job(void **state)
{
	struct fixture *f = *state;
	json_t *result = json_pack("{s:i}", "sites", 2);
	struct err e;
	struct job *job = add(f, "mine", false);

	assert_int_equal(jobs_dismiss(&f->jobs, "mine", &e), -EBUSY);
	assert_string_equal(e.rule, "running");
	jobs_conclude(&f->jobs, job, result, NULL);
	json_decref(result);
	assert_string_equal(f->log, "mine running;mine concluded;");
	json_t *list = jobs_query(&f->jobs), *o = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(o, "id")), "mine");
	assert_string_equal(json_string_value(json_object_get(o, "type")), "patch-apply");
	assert_string_equal(json_string_value(json_object_get(o, "vm")), "web1");
	assert_string_equal(json_string_value(json_object_get(o, "status")), "concluded");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "result"), "sites")), 2);
	assert_int_equal(json_integer_value(json_object_get(o, "current_progress")), 1);
	assert_null(json_object_get(o, "error"));
	json_decref(list);
	assert_int_equal(jobs_dismiss(&f->jobs, "mine", &e), 0);
	assert_int_equal(jobs_dismiss(&f->jobs, "mine", &e), -ENOENT);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
}

static void test_unnamed_job_vanishes(void **state)
{
	struct fixture *f = *state;
	struct job *job = add(f, NULL, false);

	assert_int_equal(count(f), 1);
	jobs_conclude(&f->jobs, job, NULL, NULL);
	assert_int_equal(count(f), 0);
	assert_string_equal(f->log, "auto-1 running;auto-1 concluded;");
}

static void test_auto_id_avoids_taken_names(void **state)
{
	struct fixture *f = *state;

	add(f, "auto-1", false);
	add(f, "auto-2", false);
	assert_string_equal(add(f, NULL, false)->id, "auto-3");
}

static void test_error_and_abort(void **state)
{
	struct fixture *f = *state;
	struct job *job = add(f, "mine", false);
	struct err e;

	assert_true(jobs_abort(&f->jobs, job));
	assert_false(jobs_abort(&f->jobs, job));
	err_set(&e, ERR_FAILED, ECANCELED, NULL, "cut \xc3"); /* not UTF-8: half a character */
	jobs_conclude(&f->jobs, job, NULL, &e);
	assert_string_equal(f->log, "mine running;mine aborting;mine concluded;");
	json_t *list = jobs_query(&f->jobs), *o = json_array_get(list, 0);
	assert_non_null(json_string_value(json_object_get(o, "error")));
	assert_memory_equal(json_string_value(json_object_get(o, "error")), "cut ", 4);
	json_decref(list);
}

static void test_bad_ids(void **state)
{
	struct fixture *f = *state;
	struct job *job;
	struct err e;

	assert_int_equal(jobs_add(&f->jobs, "", "t", "v", false, &job, &e), -EINVAL);
	assert_int_equal(jobs_add(&f->jobs, "a b", "t", "v", false, &job, &e), -EINVAL);
	assert_int_equal(e.kind, ERR_USAGE);
	add(f, "mine", false);
	assert_int_equal(jobs_add(&f->jobs, "mine", "t", "v", false, &job, &e), -EEXIST);
	assert_string_equal(e.rule, "exists");
}

static void test_running_limits(void **state)
{
	struct fixture *f = *state;
	struct job *job;
	struct err e;

	for (int i = 0; i < JOBS_RUNNING_RO_MAX; i++)
		add(f, NULL, true);
	assert_int_equal(jobs_add(&f->jobs, NULL, "t", "v", true, &job, &e), -EBUSY);
	for (int i = JOBS_RUNNING_RO_MAX; i < JOBS_RUNNING_MAX; i++)
		add(f, NULL, false);
	assert_int_equal(jobs_add(&f->jobs, NULL, "t", "v", false, &job, &e), -EBUSY);
	assert_int_equal(e.kind, ERR_TIMEOUT);
	assert_string_equal(e.rule, "busy");
	jobs_conclude(&f->jobs, TAILQ_FIRST(&f->jobs.list), NULL, NULL);
	add(f, NULL, false);
}

static void test_kept_limit_drops_read_only_first(void **state)
{
	struct fixture *f = *state;
	char id[32];

	jobs_conclude(&f->jobs, add(f, "oldest", false), NULL, NULL);
	jobs_conclude(&f->jobs, add(f, "stranger", true), NULL, NULL);
	for (int i = 0; i < JOBS_KEPT_MAX - 2; i++) {
		snprintf(id, sizeof(id), "j%d", i);
		jobs_conclude(&f->jobs, add(f, id, false), NULL, NULL);
	}
	assert_int_equal(count(f), JOBS_KEPT_MAX);
	jobs_conclude(&f->jobs, add(f, "one-more", false), NULL, NULL);
	assert_int_equal(count(f), JOBS_KEPT_MAX);
	assert_null(jobs_find(&f->jobs, "stranger", NULL));
	assert_non_null(jobs_find(&f->jobs, "oldest", NULL));
	jobs_conclude(&f->jobs, add(f, "two-more", false), NULL, NULL);
	assert_null(jobs_find(&f->jobs, "oldest", NULL));
	assert_non_null(jobs_find(&f->jobs, "two-more", NULL));
}

static json_t *result_of(size_t bytes)
{
	char *text = malloc(bytes + 1);

	assert_non_null(text);
	memset(text, 'x', bytes);
	text[bytes] = '\0';
	json_t *o = json_pack("{s:s}", "text", text);
	free(text);
	return o;
}

static void test_kept_bytes(void **state)
{
	struct fixture *f = *state;
	json_t *large = result_of(300 << 10), *huge = result_of(JOBS_KEPT_BYTES);

	jobs_conclude(&f->jobs, add(f, "a", false), large, NULL);
	jobs_conclude(&f->jobs, add(f, "b", false), large, NULL);
	assert_int_equal(count(f), 2);
	jobs_conclude(&f->jobs, add(f, "c", false), large, NULL);
	assert_int_equal(count(f), 2);
	assert_null(jobs_find(&f->jobs, "a", NULL));
	jobs_conclude(&f->jobs, add(f, "d", false), huge, NULL);
	struct job *d = jobs_find(&f->jobs, "d", NULL);
	assert_non_null(d);
	assert_null(d->result);
	assert_non_null(strstr(d->error.text, "too large"));
	json_t *list = jobs_query(&f->jobs);
	assert_true(json_dumpb(list, NULL, 0, 0) < 1 << 20);
	json_decref(list);
	json_decref(large);
	json_decref(huge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life_of_a_named_job, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unnamed_job_vanishes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_auto_id_avoids_taken_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_error_and_abort, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_running_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_limit_drops_read_only_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_bytes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
