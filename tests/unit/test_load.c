// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a new worker makes of a journal: the same list of patches as its
 * predecessor had, also after the file was rewritten small; a journal that
 * somebody edited is refused, never half believed.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "vmm/worker/commands.h"
#include "vmm/worker/txlog.h"

static struct {
	char dir[64];
	int peer;
	struct session s;
} w;

static void open_session(void)
{
	struct err e = { 0 };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	w.peer = pair[1];
	w.s = (struct session){ .target.vm = "web1", .state_dir = w.dir };
	session_init(&w.s);
	w.s.control = control_new(pair[0]);
	assert_int_equal(journal_open(w.dir, "web1", 0, &w.s.journal, &e), 0);
}

static void close_session(void)
{
	session_clear(&w.s);
	journal_close(w.s.journal);
	control_free(w.s.control);
	close(w.peer);
}

/* The next worker. */
static int again(void)
{
	struct err e = { 0 };

	close_session();
	open_session();
	return session_load(&w.s, &e);
}

static int setup(void **state)
{
	(void)state;
	strcpy(w.dir, "/tmp/vmpoke-load-XXXXXX");
	if (!mkdtemp(w.dir))
		return -1;
	open_session();
	w.s.next_txn = 1;
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	close_session();
	snprintf(command, sizeof(command), "rm -rf %s", w.dir);
	return system(command);
}

static struct transaction *make(const char *name, enum operation operation)
{
	struct transaction *t = calloc(1, sizeof(*t));

	t->number = w.s.next_txn++;
	t->operation = operation;
	snprintf(t->patch, sizeof(t->patch), "%s", name);
	t->plan = calloc(1, sizeof(*t->plan));
	t->plan->sites = calloc(1, sizeof(*t->plan->sites));
	t->plan->n_sites = 1;
	t->plan->sites[0] = (struct poke_site){ .gva = 0xffffffff81000000, .len = 1, .split = 1, .boundaries = 1,
						.new_boundaries = 1 };
	return t;
}

static void transact(const char *name, enum operation operation, enum result result)
{
	struct transaction *t = make(name, operation);
	struct err e = { 0 };

	assert_int_equal(txlog_begin(&w.s, t, &e), 0);
	assert_int_equal(txlog_end(&w.s, t, result, NULL, NULL, &e), 0);
}

/* Many of them: without waiting for the disk. */
static void transact_fast(const char *name, enum operation operation, enum result result)
{
	struct transaction *t = make(name, operation);
	json_t *end = json_pack("{s:s, s:I, s:s, s:I}", "type", "end", "txn", (json_int_t)t->number, "result",
				result_name(result), "time", (json_int_t)1);
	struct err e = { 0 };

	assert_int_equal(journal_append(w.s.journal, transaction_to_json(t), false, &e), 0);
	assert_int_equal(journal_append(w.s.journal, end, false, &e), 0);
	assert_int_equal(patch_list_end(&w.s.patches, t, result), 0);
}

static void log_text(const char *text)
{
	struct err e = { 0 };

	assert_int_equal(journal_append(w.s.journal, json_loads(text, 0, NULL), false, &e), 0);
}

/* "a b(lost) c(attention)" */
static const char *listing(void)
{
	static char text[256];
	size_t n = 0;

	text[0] = '\0';
	for (const struct patch_record *p = w.s.patches.first; p; p = p->next)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s%s", n ? " " : "", p->begin->patch,
				      p->status == PATCH_LOST ? "(lost)" :
				      p->status == PATCH_ATTENTION ? "(attention)" : "");
	return text;
}

static size_t history(size_t limit)
{
	json_t *args = json_pack("{s:I}", "limit", (json_int_t)limit), *value = NULL;
	struct err e = { 0 };

	assert_int_equal(command_query_history(&w.s, args, &value, &e), 0);
	json_t *entries = json_object_get(value, "entries");
	size_t n = json_array_size(entries), i;
	json_t *entry;
	json_array_foreach(entries, i, entry) {
		assert_non_null(json_object_get(entry, "patch"));
		assert_non_null(json_object_get(entry, "result"));
		assert_null(json_object_get(entry, "type"));
	}
	json_decref(value);
	json_decref(args);
	return n;
}

static void compact_now(void)
{
	/* Only a large file is rewritten. */
	json_t *fill = json_pack("{s:s, s:o}", "type", "release", "fill", json_stringn("", 0));
	char *big = malloc(3u << 20);
	struct err e = { 0 };

	memset(big, 'x', (3u << 20) - 1);
	big[(3u << 20) - 1] = '\0';
	json_object_set_new(fill, "fill", json_string(big));
	free(big);
	for (int i = 0; i < 3; i++)
		assert_int_equal(journal_append(w.s.journal, json_incref(fill), false, &e), 0);
	json_decref(fill);
	session_compact(&w.s);
}

static void test_compact(void **state)
{
	static const char want[] = "a b(lost) d(attention) c(attention) e";

	(void)state;
	transact("a", OPERATION_APPLY, RESULT_APPLIED);
	transact("c", OPERATION_APPLY, RESULT_ATTENTION);
	transact("c", OPERATION_REVERT, RESULT_REVERTED);
	for (int i = 0; i < 1200; i++) { /* the same name again and again: only the last one counts */
		transact_fast("e", OPERATION_APPLY, RESULT_APPLIED);
		transact_fast("e", OPERATION_REVERT, RESULT_REVERTED);
	}
	transact("b", OPERATION_APPLY, RESULT_APPLIED);
	log_text("{\"type\": \"lost\", \"patch\": \"b\", \"time\": 1}");
	patch_list_find(&w.s.patches, "b")->status = PATCH_LOST;
	transact("d", OPERATION_APPLY, RESULT_APPLIED);
	transact("d", OPERATION_REVERT, RESULT_ATTENTION);
	transact("c", OPERATION_APPLY, RESULT_ATTENTION);
	transact("a", OPERATION_REVERT, RESULT_UNDONE);
	transact("e", OPERATION_APPLY, RESULT_APPLIED);
	assert_string_equal(listing(), want);
	for (int i = 0; i < 3; i++) {
		uint64_t next = w.s.next_txn;

		compact_now();
		assert_in_range(journal_size(w.s.journal), 1, 300000);
		assert_int_equal(history(1000), 1000);
		assert_int_equal(again(), 0);
		assert_string_equal(listing(), want);
		assert_int_equal(w.s.next_txn, next);
	}
}

/* While a transaction is open its records stay. */
static void test_no_compact_while_open(void **state)
{
	struct err e = { 0 };

	(void)state;
	w.s.open = make("a", OPERATION_APPLY);
	assert_int_equal(txlog_begin(&w.s, w.s.open, &e), 0);
	compact_now();
	assert_true(journal_size(w.s.journal) > 8u << 20);
	assert_int_equal(again(), 0);
	assert_non_null(w.s.open);
}

/* The disk is full when a patch has just gone in: the next transaction must not hide it. */
static void test_end_on_full_disk(void **state)
{
	struct transaction *t = make("a", OPERATION_APPLY);
	struct err e = { 0 };

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(txlog_begin(&w.s, t, &e), 0);
	struct rlimit limit = { journal_size(w.s.journal), RLIM_INFINITY };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_true(txlog_end(&w.s, t, RESULT_APPLIED, NULL, NULL, &e) < 0);
	limit.rlim_cur = RLIM_INFINITY;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	transact("b", OPERATION_APPLY, RESULT_APPLIED);
	assert_int_equal(again(), 0);
	assert_string_equal(listing(), "a b");
}

static void test_edited(void **state)
{
	static const char *const lines[] = {
		"{\"type\": \"end\", \"txn\": 1, \"result\": \"applied\"}", /* nothing is open */
		"{\"type\": \"state\", \"txn\": 1, \"state\": \"paused\", \"running\": true}",
		"{\"type\": \"lost\"}",
		"{\"type\": \"forget\", \"patch\": 3}",
		"{\"type\": \"surprise\"}",
		"{\"type\": 5}",
		"{}",
		"{\"type\": \"begin\", \"txn\": 1}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct err e = { 0 };
		json_t *none = json_array();

		log_text(lines[i]);
		assert_int_equal(again(), -EBADMSG);
		assert_int_equal(journal_rewrite(w.s.journal, none, &e), 0);
		json_decref(none);
	}
}

/* A begin without an end is passed over only when nothing can have been written; ends belong to their begin. */
static void test_order(void **state)
{
	struct transaction *t = make("a", OPERATION_APPLY), *u = make("b", OPERATION_APPLY);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(txlog_begin(&w.s, t, &e), 0);
	assert_int_equal(txlog_begin(&w.s, u, &e), 0);
	assert_int_equal(again(), 0);
	assert_string_equal(w.s.open->patch, "b");
	log_text("{\"type\": \"state\", \"txn\": 2, \"state\": \"written\", \"running\": true}");
	assert_int_equal(again(), 0);
	assert_true(w.s.open_running);
	assert_int_equal(w.s.open_state, POKE_WRITTEN);
	assert_int_equal(txlog_begin(&w.s, t, &e), 0);
	assert_int_equal(again(), -EBADMSG);
	transaction_free(t);
	transaction_free(u);
}

static void test_end_of_another(void **state)
{
	struct transaction *t = make("a", OPERATION_APPLY);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(txlog_begin(&w.s, t, &e), 0);
	log_text("{\"type\": \"end\", \"txn\": 9, \"result\": \"applied\"}");
	assert_int_equal(again(), -EBADMSG);
	transaction_free(t);
}

static struct payload_memory memory(const char *patch, uint64_t gva)
{
	struct payload_memory m = { .gva = gva, .size = 8192, .text = 4096, .crc = 0xfedcba98, .shows_code = gva & 0x1000,
				    .boot = { .release = "6.1.0", .build_id = "00", .base = 0xffffffff81000000, .pid = 7, .pid_start = 9 } };

	snprintf(m.patch, sizeof(m.patch), "%s", patch);
	return m;
}

static void got_memory(const struct payload_memory *m)
{
	assert_int_equal(payload_list_add(&w.s.payloads, m), 0);
	assert_int_equal(journal_append(w.s.journal, payload_record(m), true, NULL), 0);
}

/* What was allocated in the guest is known to the next worker, until it was given back. */
static void test_payload_memory(void **state)
{
	const struct payload_memory a = memory("a", 0xffffffffc0000000), b = memory("b", 0xffffffffc0003000);
	struct payload_memory *m;

	(void)state;
	got_memory(&a);
	got_memory(&b);
	assert_int_equal(again(), 0);
	assert_ptr_equal(w.s.payloads.first, payload_list_find(&w.s.payloads, a.gva));
	m = payload_list_find(&w.s.payloads, b.gva);
	assert_non_null(m);
	assert_true(m->shows_code && m->size == b.size && m->text == b.text && m->crc == b.crc && m->boot.pid == 7 && m->boot.base == b.boot.base);
	assert_string_equal(m->patch, "b");
	assert_int_equal(journal_append(w.s.journal, payload_record_free(&a), true, NULL), 0);
	assert_int_equal(again(), 0);
	assert_null(payload_list_find(&w.s.payloads, a.gva));
	assert_non_null(payload_list_find(&w.s.payloads, b.gva));
	/* The same address for another patch later. */
	const struct payload_memory c = memory("c", b.gva);
	got_memory(&c);
	assert_int_equal(again(), 0);
	assert_string_equal(w.s.payloads.first->patch, "c");
	assert_null(w.s.payloads.first->next);
	compact_now();
	assert_int_equal(again(), 0);
	assert_true(w.s.payloads.first && w.s.payloads.first->gva == c.gva && !w.s.payloads.first->next);
}

static void test_edited_memory(void **state)
{
	static const char *const keys[] = { "patch", "address", "size", "text", "crc", "build_id", "base", "pid", "release" };
	const struct payload_memory m = memory("a", 0xffffffffc0000000);
	struct payload_list list = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *record = payload_record(&m);

		json_object_del(record, keys[i]);
		assert_int_equal(payload_list_load(&list, record), -EBADMSG);
		json_object_set_new(record, keys[i], json_integer(-4096));
		assert_int_equal(payload_list_load(&list, record), -EBADMSG);
		json_decref(record);
	}
	json_t *record = payload_record(&m);
	json_object_set_new(record, "size", json_integer(4097));
	assert_int_equal(payload_list_load(&list, record), -EBADMSG);
	json_object_set_new(record, "size", json_integer(4096));
	json_object_set_new(record, "address", json_string("0xfffffffffffff000"));
	assert_int_equal(payload_list_load(&list, record), -EBADMSG);
	json_decref(record);
	assert_null(list.first);
	for (uint64_t i = 0; i < PAYLOADS_MAX; i++)
		assert_int_equal(payload_list_add(&list, &(struct payload_memory){ .gva = i << 12 }), 0);
	assert_int_equal(payload_list_add(&list, &m), -E2BIG);
	payload_list_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_compact, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_compact_while_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_on_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edited, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_of_another, setup, teardown),
		cmocka_unit_test_setup_teardown(test_payload_memory, setup, teardown),
		cmocka_unit_test(test_edited_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
