// SPDX-License-Identifier: GPL-2.0-or-later
/* The journal file: what was acknowledged is there after a crash, what was torn is not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "vmm/worker/journal.h"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/vmpoke-journal-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void file_path(char *buf, size_t cap)
{
	snprintf(buf, cap, "%s/journal/web1.jsonl", dir);
}

struct counter {
	struct journal_visitor visitor;
	int records;
	json_int_t last, sum;
	int fail_at;
};

static int count(struct journal_visitor *v, json_t *record)
{
	struct counter *c = container_of(v, struct counter, visitor);

	c->records++;
	c->last = json_integer_value(json_object_get(record, "n"));
	c->sum += c->last;
	return c->records == c->fail_at ? -EINVAL : 0;
}

static struct journal *opened(void)
{
	struct journal *j = NULL;
	struct err e = { 0 };

	assert_int_equal(journal_open(dir, "web1", 0, &j, &e), 0);
	return j;
}

static void append(struct journal *j, int n)
{
	struct err e = { 0 };

	assert_int_equal(journal_append(j, json_pack("{s:i}", "n", n), n % 2, &e), 0);
}

static struct counter replayed(struct journal *j)
{
	struct counter c = { .visitor.record = count };
	struct err e = { 0 };

	assert_int_equal(journal_replay(j, &c.visitor, &e), 0);
	return c;
}

static void test_append_replay(void **state)
{
	struct journal *j = opened();

	(void)state;
	assert_int_equal(replayed(j).records, 0);
	for (int i = 1; i <= 100; i++)
		append(j, i);
	journal_close(j);
	j = opened();
	struct counter c = replayed(j);
	assert_int_equal(c.records, 100);
	assert_int_equal(c.last, 100);
	journal_close(j);
}

/* Cut the file at every length: all whole lines come back, and a later append is not glued to the rest. */
static void test_torn_line(void **state)
{
	char path[128];
	struct journal *j = opened();

	(void)state;
	for (int i = 1; i <= 5; i++)
		append(j, i);
	size_t size = journal_size(j);
	journal_close(j);
	file_path(path, sizeof(path));
	for (size_t len = size; len-- > 0;) {
		assert_int_equal(truncate(path, (off_t)len), 0);
		j = opened();
		int whole = (int)(len / (size / 5));
		assert_int_equal(replayed(j).records, whole);
		append(j, 77);
		struct counter c = replayed(j);
		assert_int_equal(c.records, whole + 1);
		assert_int_equal(c.last, 77);
		journal_close(j);
	}
}

static void test_damaged_line(void **state)
{
	char path[128];
	struct journal *j = opened();
	struct counter c = { .visitor.record = count };
	struct err e = { 0 };

	(void)state;
	for (int i = 1; i <= 3; i++)
		append(j, i);
	journal_close(j);
	file_path(path, sizeof(path));
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 8), 1);
	close(fd);
	j = opened();
	assert_int_equal(journal_replay(j, &c.visitor, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "line 2"));
	journal_close(j);
}

static void test_visitor_stops(void **state)
{
	struct journal *j = opened();
	struct counter c = { .visitor.record = count, .fail_at = 2 };
	struct err e = { 0 };

	(void)state;
	for (int i = 1; i <= 3; i++)
		append(j, i);
	assert_int_equal(journal_replay(j, &c.visitor, &e), -EINVAL);
	assert_int_equal(c.records, 2);
	journal_close(j);
}

static void test_lock(void **state)
{
	struct journal *j = opened();
	struct err e = { 0 };
	int status;

	(void)state;
	pid_t child = fork();
	if (child == 0) {
		struct journal *other = NULL;
		_exit(journal_open(dir, "web1", 50000, &other, &e) == -EBUSY ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	journal_close(j);
	journal_close(opened());
}

static void test_rewrite(void **state)
{
	struct journal *j = opened();
	struct err e = { 0 };
	json_t *records = json_pack("[{s:i}, {s:i}]", "n", 8, "n", 9);

	(void)state;
	for (int i = 1; i <= 50; i++)
		append(j, i);
	assert_int_equal(journal_rewrite(j, records, &e), 0);
	json_decref(records);
	append(j, 10);
	struct counter c = replayed(j);
	assert_int_equal(c.records, 3);
	assert_int_equal(c.last, 10);
	journal_close(j);
}

static void test_oversized(void **state)
{
	struct journal *j = opened();
	struct err e = { 0 };
	char *big = malloc(JOURNAL_LINE_MAX + 1);

	(void)state;
	memset(big, 'a', JOURNAL_LINE_MAX);
	big[JOURNAL_LINE_MAX] = '\0';
	assert_true(journal_append(j, json_pack("{s:s}", "n", big), false, &e) < 0);
	free(big);
	append(j, 4);
	assert_int_equal(replayed(j).records, 1);
	journal_close(j);
}

/* Half a journal must not pass for a whole one. */
static void test_unreadable(void **state)
{
	struct journal *j = opened();
	struct counter c = { .visitor.record = count };
	struct err e = { 0 };
	char path[256], away[256];

	(void)state;
	append(j, 1);
	snprintf(path, sizeof(path), "%s/journal/web1.jsonl", dir);
	snprintf(away, sizeof(away), "%s.away", path);
	assert_int_equal(rename(path, away), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(journal_replay(j, &c.visitor, &e) < 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(away, path), 0);
	journal_close(j);
}

static void allow_bytes(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A full disk: what happened meanwhile is written before anything that comes later. */
static void test_owed(void **state)
{
	struct journal *j = opened();
	struct err e = { 0 };

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	append(j, 1);
	allow_bytes(journal_size(j) + 3);
	assert_int_equal(journal_owe(j, json_pack("{s:i}", "n", 2), &e), -EFBIG);
	assert_int_equal(journal_append(j, json_pack("{s:i}", "n", 3), true, &e), -EFBIG);
	assert_int_equal(replayed(j).records, 1);
	allow_bytes(RLIM_INFINITY);
	append(j, 4);
	assert_int_equal(replayed(j).records, 3);
	assert_int_equal(replayed(j).last, 4);
	assert_int_equal(replayed(j).sum, 1 + 2 + 4);
	journal_close(j);
}

static void test_no_directory(void **state)
{
	struct journal *j = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(journal_open("/nonexistent", "web1", 0, &j, &e), -ENOENT);
	assert_null(j);
	assert_int_equal(e.kind, ERR_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_append_replay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_visitor_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rewrite, setup, teardown),
		cmocka_unit_test_setup_teardown(test_oversized, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owed, setup, teardown),
		cmocka_unit_test(test_no_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
