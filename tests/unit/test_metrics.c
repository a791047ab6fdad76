// SPDX-License-Identifier: GPL-2.0-or-later
/* Counters from what workers answer, and the metrics over HTTP of a vmpoked that runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/util.h"
#include "tests/fake/daemon_program.h"
#include "vmm/control/http.h"
#include "vmm/control/scrape.h"
#include "vmm/control/stats.h"

static void account(struct vm_stats *s, const char *command, const char *json)
{
	json_t *value = json_loads(json, 0, NULL);

	assert_non_null(value);
	stats_account(s, command, value, NULL);
	json_decref(value);
}

static void test_account(void **state)
{
	struct vm_stats s = { 0 };
	struct err e;

	(void)state;
	account(&s, "patch-apply", "{\"changed\": true, \"mode\": \"stopped\", \"barriers\": 1, \"forced_exits\": 4, \"steps\": 2, "
				   "\"retries\": 3, \"longest_pause_us\": 1000}");
	account(&s, "patch-revert", "{\"changed\": true, \"mode\": \"held\", \"barriers\": 3, \"longest_pause_us\": 1001}");
	account(&s, "patch-apply", "{\"changed\": false, \"mode\": \"stopped\", \"barriers\": 0}");
	account(&s, "patch-check", "{\"changed\": true, \"mode\": \"stopped\", \"barriers\": 100}");
	err_set(&e, ERR_REFUSED, EPERM, NULL, "no");
	stats_account(&s, "patch-apply", NULL, &e);
	err_set(&e, ERR_TIMEOUT, EBUSY, NULL, "no");
	stats_account(&s, "patch-replace", NULL, &e);
	err_set(&e, ERR_INACTIVE, ENOTCONN, NULL, "no");
	stats_account(&s, "patch-revert", NULL, &e);
	assert_int_equal(s.changed[STATS_APPLY][STATS_STOPPED], 1);
	assert_int_equal(s.changed[STATS_REVERT][STATS_HELD], 1);
	assert_int_equal(s.unchanged[STATS_APPLY], 1);
	assert_int_equal(s.failed[STATS_APPLY][STATS_REFUSED], 1);
	assert_int_equal(s.failed[STATS_REPLACE][STATS_TIMEOUT], 1);
	assert_int_equal(s.failed[STATS_REVERT][STATS_FAILED], 1);
	assert_int_equal(s.barriers, 4);
	assert_int_equal(s.forced_exits, 4);
	assert_int_equal(s.steps, 2);
	assert_int_equal(s.retries, 3);
	assert_int_equal(s.pauses[3], 1); /* up to 1000 */
	assert_int_equal(s.pauses[4], 1);
	assert_int_equal(s.pause_sum_us, 2001);
	assert_int_equal(s.pause_max_us, 1001);
}

/* What a hostile guest's worker may say: nothing goes down or over. */
static void test_hostile(void **state)
{
	struct vm_stats s = { .barriers = 5, .pause_max_us = 7 };

	(void)state;
	account(&s, "patch-apply", "{\"changed\": true, \"mode\": \"stopped\", \"barriers\": -9, \"retries\": \"x\", "
				   "\"longest_pause_us\": 9223372036854775807}");
	account(&s, "patch-apply", "{\"changed\": true, \"mode\": \"other\"}");
	account(&s, "patch-apply", "{\"changed\": 1, \"mode\": 7}");
	account(&s, "patch-apply", "[]");
	assert_int_equal(s.barriers, 5);
	assert_int_equal(s.pause_max_us, 3600000000);
	assert_int_equal(s.pauses[STATS_BUCKETS - 1], 1);
	assert_int_equal(s.unchanged[STATS_APPLY], 3);
}

static void test_requests(void **state)
{
	static const struct {
		const char *text;
		int r;
		bool get, open;
		const char *path;
	} cases[] = {
		{ "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1, true, false, "/metrics" },
		{ "GET /metrics?a=b HTTP/1.0\n\n", 1, true, false, "/metrics" },
		{ "GET /metrics HTTP/1.1\r\nACCEPT: application/openmetrics-text; version=1.0.0\r\n\r\n", 1, true, true, "/metrics" },
		{ "GET /metrics HTTP/1.1\r\nX-Accept: application/openmetrics-text\r\n\r\n", 1, true, false, "/metrics" },
		{ "POST / HTTP/1.1\r\n\r\n", 1, false, false, "/" },
		{ "GET /metrics HTTP/1.1\r\nHost: a\r\n", 0, false, false, NULL },
		{ "GET /metr", 0, false, false, NULL },
		{ "GET /metrics\r\n\r\n", -EBADMSG, false, false, NULL },
		{ "GET  HTTP/1.1\r\n\r\n", -EBADMSG, false, false, NULL },
		{ "GET metrics HTTP/1.1\r\n\r\n", -EBADMSG, false, false, NULL },
		{ "GET / HTTP/2.0\r\n\r\n", -EBADMSG, false, false, NULL },
		{ " / HTTP/1.1\r\n\r\n", -EBADMSG, false, false, NULL },
		{ "\x16\x03\x01\n\n", -EBADMSG, false, false, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_request r = { 0 };
		if (http_request_parse(cases[i].text, strlen(cases[i].text), &r) != cases[i].r)
			fail_msg("%s", cases[i].text);
		if (cases[i].r > 0 && (r.get != cases[i].get || r.open_metrics != cases[i].open || strcmp(r.path, cases[i].path) != 0))
			fail_msg("%s", cases[i].text);
	}
	char *big = calloc(1, HTTP_REQUEST_MAX);
	struct http_request r;
	memset(big, 'a', HTTP_REQUEST_MAX);
	assert_int_equal(http_request_parse(big, HTTP_REQUEST_MAX, &r), -EMSGSIZE);
	assert_int_equal(http_request_parse(big, HTTP_REQUEST_MAX - 1, &r), 0);
	free(big);
}

static struct daemon_program program;

static int start(void **state)
{
	(void)state;
	daemon_program_init(&program);
	daemon_program_start(&program);
	return 0;
}

static int stop(void **state)
{
	char path[128];

	(void)state;
	assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_path(&program, "run/metrics.sock", path, sizeof(path));
	assert_int_equal(access(path, F_OK), -1); /* nothing is left */
	daemon_program_clean(&program);
	return 0;
}

static int scrape_connect(void)
{
	char path[128];

	daemon_program_path(&program, "run/metrics.sock", path, sizeof(path));
	int fd = unix_connect(path, DAEMON_WAIT_US);
	assert_true(fd >= 0);
	return fd;
}

/* Sends the request in pieces and reads to the end. */
static void get(const char *request, size_t piece, char *buf, size_t cap)
{
	int fd = scrape_connect();
	size_t len = 0;

	for (size_t at = 0; at < strlen(request); at += piece) {
		size_t n = strlen(request) - at < piece ? strlen(request) - at : piece;
		assert_int_equal(send(fd, request + at, n, MSG_NOSIGNAL), n);
	}
	for (ssize_t n = 1; n > 0; len += (size_t)n) {
		n = recv(fd, buf + len, cap - 1 - len, 0);
		if (n < 0)
			break;
	}
	buf[len] = '\0';
	close(fd);
}

static void has(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("'%s' is not in:\n%s", what, text);
}

static void test_scrape(void **state)
{
	struct qmp_client *c = daemon_program_connect(&program, false);
	static char text[1 << 18];
	size_t length = 0;

	(void)state;
	json_decref(add_vm(c, "ok"));
	json_decref(call_ok(c, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", "x")));
	get("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 5, text, sizeof(text));
	assert_memory_equal(text, "HTTP/1.0 200 OK\r\n", 17);
	has(text, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	has(text, "\n# TYPE vmpoke_changes_total counter\n");
	has(text, "\nvmpoke_vm_state{vm=\"ok\",state=\"running\"} 1\n");
	has(text, "\nvmpoke_vms 1\n");
	assert_null(strstr(text, "# EOF"));
	const char *body = strstr(text, "\r\n\r\n") + 4;
	assert_int_equal(sscanf(strstr(text, "Content-Length: "), "Content-Length: %zu", &length), 1);
	assert_int_equal(strlen(body), length);
	get("GET / HTTP/1.0\r\nAccept: application/openmetrics-text\r\n\r\n", 1000, text, sizeof(text));
	has(text, "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n");
	has(text, "\n# TYPE vmpoke_changes counter\n");
	has(text, "vmpoke_pause_seconds_bucket{vm=\"ok\",le=\"+Inf\"} ");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	get("GET /other HTTP/1.0\r\n\r\n", 1000, text, sizeof(text));
	has(text, "HTTP/1.0 404 Not Found\r\n");
	get("PUT / HTTP/1.0\r\n\r\n", 1000, text, sizeof(text));
	has(text, "HTTP/1.0 405 Method Not Allowed\r\nAllow: GET\r\n");
	get("nonsense\r\n\r\n", 1000, text, sizeof(text));
	has(text, "HTTP/1.0 400 Bad Request\r\n");
	qmp_client_free(c);
}

/* A crowd that says nothing is turned away, not served, and keeps nobody from the control sockets. */
static void test_crowd(void **state)
{
	int fds[SCRAPE_CLIENTS_MAX + 4];
	char byte;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = scrape_connect();
	assert_int_equal(recv(fds[ARRAY_SIZE(fds) - 1], &byte, 1, 0), 0);
	struct qmp_client *c = daemon_program_connect(&program, true);
	json_decref(call_ok(c, "query-vms", NULL));
	qmp_client_free(c);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void test_query(void **state)
{
	struct qmp_client *c = daemon_program_connect(&program, true), *rw = daemon_program_connect(&program, false);

	(void)state;
	json_decref(add_vm(rw, "ok"));
	json_decref(add_vm(rw, "other"));
	json_decref(call_ok(rw, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", "x")));
	json_t *stats = call_ok(c, "query-stats", NULL), *daemon = json_object_get(stats, "daemon");
	json_t *vms = json_object_get(stats, "vms");
	assert_int_equal(get_int(daemon, "vms"), 2);
	assert_int_equal(get_int(daemon, "workers"), 2);
	assert_int_equal(get_int(daemon, "clients"), 2);
	assert_int_equal(get_int(daemon, "clients_read_only"), 1);
	assert_true(get_int(daemon, "rss") > 100000);
	assert_int_equal(get_int(stats, "next"), -1);
	assert_int_equal(json_array_size(vms), 2);
	assert_string_equal(get_str(json_array_get(vms, 0), "vm"), "ok");
	assert_int_equal(json_array_size(json_object_get(json_array_get(vms, 0), "changes")), 1);
	assert_int_equal(json_array_size(json_object_get(json_array_get(vms, 1), "changes")), 0);
	json_decref(stats);
	json_decref(call_ok(rw, "rule-add", json_pack("{s:s, s:s}", "pattern", "oth*", "text",
						      "vmpoke: 1\nname: fix\nsites:\n  - { at: f, kind: return, value: 1 }\n")));
	stats = call_ok(c, "query-stats", json_pack("{s:s}", "vm", "other"));
	vms = json_object_get(json_array_get(json_object_get(stats, "vms"), 0), "desired");
	assert_int_equal(json_array_size(vms), 1); /* one rule, whatever it has come to by now */
	assert_int_equal(get_int(json_array_get(vms, 0), "count"), 1);
	json_decref(stats);
	stats = call_ok(c, "query-stats", json_pack("{s:i}", "count", 1));
	assert_int_equal(get_int(stats, "next"), 1);
	json_decref(stats);
	stats = call_ok(c, "query-stats", json_pack("{s:s}", "vm", "other"));
	assert_int_equal(json_array_size(json_object_get(stats, "vms")), 1);
	json_decref(stats);
	qmp_client_free(c);
	qmp_client_free(rw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_requests),
		cmocka_unit_test_setup_teardown(test_scrape, start, stop),
		cmocka_unit_test_setup_teardown(test_crowd, start, stop),
		cmocka_unit_test_setup_teardown(test_query, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
