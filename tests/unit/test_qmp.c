// SPDX-License-Identifier: GPL-2.0-or-later
/* QMP framing, requests, builders and the error object on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "protocol/qmp.h"

/* All frames of a stream, one a line: "M text|id" or "E sentence". chunk 0: in one piece. */
static char *frames_of(const char *bytes, size_t len, size_t chunk)
{
	struct qmp_lexer *l = qmp_lexer_new();
	char *out;
	size_t out_len;
	FILE *f = open_memstream(&out, &out_len);

	for (size_t at = 0; at < len;) {
		size_t n = chunk && chunk < len - at ? chunk : len - at;
		for (size_t done = 0; done < n;) {
			struct qmp_frame frame;
			ssize_t r = qmp_lexer_feed(l, bytes + at + done, n - done, &frame);
			assert_true(r >= 0 && (size_t)r <= n - done);
			assert_true(r > 0 || frame.kind != QMP_FRAME_NONE);
			done += (size_t)r;
			if (frame.kind == QMP_FRAME_MESSAGE)
				fprintf(f, "M %.*s|%.*s\n", (int)frame.len, frame.text, (int)frame.id_len,
					frame.id ? frame.id : "");
			else if (frame.kind == QMP_FRAME_ERROR)
				fprintf(f, "E %s\n", frame.error);
		}
		at += n;
	}
	fclose(f);
	qmp_lexer_free(l);
	return out;
}

static void check_frames(const char *bytes, size_t len, const char *expected)
{
	static const size_t chunks[] = { 0, 1, 2, 3, 7 };

	for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
		char *got = frames_of(bytes, len, chunks[i]);
		assert_string_equal(got, expected);
		free(got);
	}
}

#define STRAY "E JSON parse error, stray character\n"
#define CONTROL "E JSON parse error, stray control byte\n"

static void test_lexer(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ " \t\r\n", "" },
		{ "{}", "M {}|\n" },
		{ "{}{}", "M {}|\nM {}|\n" },
		{ " {\n \"a\"\t:1 }\n", "M { \"a\" :1 }|\n" },
		{ "{\"id\":7}", "M {\"id\":7}|7\n" },
		{ "{\"id\" : [1, {\"id\": 2}] , \"x\":{\"id\":3}}",
		  "M {\"id\" : [1, {\"id\": 2}] , \"x\":{\"id\":3}}|[1, {\"id\": 2}]\n" },
		{ "{\"x\":\"id\",\"y\":{\"id\":1}}", "M {\"x\":\"id\",\"y\":{\"id\":1}}|\n" },
		{ "{\"id\":\"id\"}", "M {\"id\":\"id\"}|\"id\"\n" },
		{ "[{\"id\":1}]", "M [{\"id\":1}]|\n" },
		/* Single quotes become strict JSON. */
		{ "{'id':'a\"b'}", "M {\"id\":\"a\\\"b\"}|\"a\\\"b\"\n" },
		{ "{'id':'a\\'b'}", "M {\"id\":\"a'b\"}|\"a'b\"\n" },
		{ "{\"id\":\"a\\'b\"}", "M {\"id\":\"a'b\"}|\"a'b\"\n" },
		{ "{'id':'a\\\"b'}", "M {\"id\":\"a\\\"b\"}|\"a\\\"b\"\n" },
		{ "{'a':'\\\\'}", "M {\"a\":\"\\\\\"}|\n" },
		{ "{\"a\":\"}]\\\"{\"}", "M {\"a\":\"}]\\\"{\"}|\n" },
		/* Scalars, stray brackets: one message each, as in QEMU. */
		{ "1 ", "M 1|\n" },
		{ "-1.5e+3 ", "M -1.5e+3|\n" },
		{ "null,", "M null|\nM ,|\n" },
		{ "\"x\"", "M \"x\"|\n" },
		{ "}", "M }|\n" },
		{ "{]", "M {]|\n" },
		{ "{\"a\":1]{}", "M {\"a\":1]|\nM {}|\n" },
		{ "1", "" }, /* more digits may come */
		{ "[1-2]", "M [1 -2]|\n" },
		{ "[1a]", "M [1 a]|\n" },
		/* Lexical errors and where the stream is picked up again. */
		{ "\xff{}", CONTROL "M {}|\n" },
		{ "{\"a\"\xff{}", CONTROL "M {}|\n" },
		{ "{\"a\x01 junk {}", CONTROL "M {}|\n" },
		{ "{\"a\n{}", CONTROL "M {}|\n" },
		{ "{\"a\\\n{}", CONTROL "M {}|\n" },
		{ "&{}", STRAY "M {}|\n" },
		{ "& \t junk\n{}", STRAY "M {}|\n" },
		{ "&\xff{}", STRAY CONTROL "M {}|\n" },
		{ "{\"a\":01}{}", STRAY "M }|\nM {}|\n" },
		{ "{\"a\":+1}", STRAY "M }|\n" },
		{ "{\"a\":1.}", STRAY },
		{ "{\"a\":-}", STRAY "" },
		{ "{\"a\":1e}", STRAY "" },
		{ "{\"a\":%d}", STRAY "M }|\n" },
		{ "// {}", STRAY "M {}|\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_frames(cases[i].in, strlen(cases[i].in), cases[i].out);
	check_frames("\0{}", 3, CONTROL "M {}|\n");
	check_frames("{\"a\0\"{}", 7, CONTROL "M {}|\n");
}

/* depth nested arrays in an object, then a good message. */
static void check_depth(size_t depth, const char *first)
{
	char in[256] = "{\"a\":", expected[512];
	size_t n = strlen(in);

	memset(in + n, '[', depth - 1);
	memset(in + n + depth - 1, ']', depth - 1);
	strcpy(in + n + 2 * (depth - 1), "}{\"b\":1}");
	if (first)
		snprintf(expected, sizeof(expected), "%sM {\"b\":1}|\n", first);
	else
		snprintf(expected, sizeof(expected), "M %.*s|\nM {\"b\":1}|\n", (int)strlen(in) - 7, in);
	check_frames(in, strlen(in), expected);
}

static void test_depth(void **state)
{
	(void)state;
	check_depth(QMP_DEPTH_MAX, NULL);
	check_depth(QMP_DEPTH_MAX + 1, "E JSON nesting depth limit exceeded\n");
	check_depth(100, "E JSON nesting depth limit exceeded\n");
}

/* An over-large message is reported once; 0xFF ends it as well. */
static void test_depth_reset(void **state)
{
	char in[64];

	(void)state;
	memset(in, '[', 40);
	strcpy(in + 40, "%&\"]]\" \xff{}");
	check_frames(in, strlen(in), "E JSON nesting depth limit exceeded\n" CONTROL "M {}|\n");
}

static char *message_of_size(size_t size, const char *tail)
{
	char *in = malloc(size + strlen(tail) + 1);

	memcpy(in, "{\"a\":\"", 6);
	memset(in + 6, 'x', size - 8);
	strcpy(in + size - 2, "\"}");
	strcat(in, tail);
	return in;
}

static void test_size(void **state)
{
	char *in = message_of_size(QMP_MESSAGE_MAX, "{}");
	char *got = frames_of(in, strlen(in), 4096);

	(void)state;
	assert_memory_equal(got, "M ", 2);
	assert_memory_equal(got + 2, in, QMP_MESSAGE_MAX);
	assert_string_equal(got + 2 + QMP_MESSAGE_MAX, "|\nM {}|\n");
	free(got);
	free(in);
}

static void test_oversize(void **state)
{
	char *in = message_of_size(QMP_MESSAGE_MAX + 1, "{}");

	(void)state;
	check_frames(in, strlen(in), "E JSON message size limit exceeded\nM {}|\n");
	free(in);
	in = message_of_size(3 * QMP_MESSAGE_MAX, "{}");
	check_frames(in, strlen(in), "E JSON message size limit exceeded\nM {}|\n");
	free(in);
}

/* White space costs no memory; many tokens do, so they are capped. */
static void test_tokens(void **state)
{
	size_t len = 2 * QMP_TOKENS_MAX + 16;
	char *in = malloc(len + 1);

	(void)state;
	in[0] = '[';
	for (size_t i = 1; i < len; i++)
		in[i] = i % 2 ? '1' : ',';
	strcpy(in + len - 5, "1]{}\n");
	check_frames(in, len, "E JSON token count limit exceeded\nM {}|\n");
	memset(in, ' ', len);
	in[1] = '{';
	in[len - 1] = '}';
	check_frames(in, len, "M { }|\n");
	free(in);
}

/* --- requests --- */

static int parse(const char *text, struct qmp_request *req, struct err *e)
{
	struct qmp_lexer *l = qmp_lexer_new();
	struct qmp_frame frame;

	assert_true(qmp_lexer_feed(l, text, strlen(text), &frame) > 0);
	assert_int_equal(frame.kind, QMP_FRAME_MESSAGE);
	int r = qmp_request_parse(&frame, req, e);
	qmp_lexer_free(l);
	return r;
}

static void test_request(void **state)
{
	struct qmp_request req;
	struct err e;

	(void)state;
	assert_int_equal(parse("{'execute':'query-vm','arguments':{'vm':'a'},'id':5}", &req, &e), 0);
	assert_string_equal(req.execute, "query-vm");
	assert_string_equal(json_string_value(json_object_get(req.args, "vm")), "a");
	assert_string_equal(req.id, "5");
	assert_false(req.oob);
	qmp_request_clear(&req);
	assert_null(req.execute);
	qmp_request_clear(&req);
	assert_int_equal(parse("{\"execute\":\"x\"}", &req, NULL), 0);
	assert_true(json_is_object(req.args));
	assert_null(req.id);
	qmp_request_clear(&req);
}

static void test_id_verbatim(void **state)
{
	static const char *const ids[] = {
		"7", "-0", "1.50", "1e400", "-1E-999", "123456789012345678901234567890", "null", "true", "false",
		"\"\"", "\"a\\u00e9\\n\\\"\"", "\"\\u0000\"", "\"1e400 { [ : ,\"", "[]", "{}",
		"[1e400, {\"a\": [1e400, true, \"\\u0000\\\\\"]}]", "\"caf\xc3\xa9\"",
		"{\"id\": {\"id\": 99999999999999999999}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct qmp_request req;
		struct err e;
		char text[256];

		snprintf(text, sizeof(text), "{\"id\": %s , \"execute\": \"x\"}", ids[i]);
		assert_int_equal(parse(text, &req, &e), 0);
		assert_string_equal(req.id, ids[i]);
		qmp_request_clear(&req);
		snprintf(text, sizeof(text), "{\"execute\": \"x\", \"id\":%s}", ids[i]);
		assert_int_equal(parse(text, &req, &e), 0);
		assert_string_equal(req.id, ids[i]);
		qmp_request_clear(&req);
	}
}

static void test_id_escaped_key(void **state)
{
	struct qmp_request req;
	struct err e;

	(void)state;
	assert_int_equal(parse("{\"\\u0069d\": [1], \"execute\": \"x\"}", &req, &e), 0);
	assert_string_equal(req.id, "[1]");
	qmp_request_clear(&req);
}

static void test_bad_requests(void **state)
{
	static const struct {
		const char *text, *sentence, *id;
	} cases[] = {
		{ "{}", "QMP input lacks member 'execute'", NULL },
		{ "{\"id\": 3}", "QMP input lacks member 'execute'", "3" },
		{ "{\"id\": 1e999, \"foo\": 1}", "QMP input member 'foo' is unexpected", "1e999" },
		{ "{\"foo\": 1, \"id\": 4}", "QMP input member 'foo' is unexpected", "4" },
		{ "{\"execute\": 1}", "QMP input member 'execute' must be a string", NULL },
		{ "{\"execute\": null, \"id\": \"x\"}", "QMP input member 'execute' must be a string", "\"x\"" },
		{ "{\"execute\": \"a\", \"arguments\": []}", "QMP input member 'arguments' must be an object", NULL },
		{ "{\"exec-oob\": \"a\"}", "QMP input member 'exec-oob' is unexpected", NULL },
		{ "{\"execute\": \"a\", \"exec-oob\": \"a\"}", "QMP input member 'exec-oob' is unexpected", NULL },
		{ "[]", "QMP input must be a JSON object", NULL },
		{ "\"x\"", "QMP input must be a JSON object", NULL },
		{ "1 ", "QMP input must be a JSON object", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct qmp_request req;
		struct err e;

		assert_int_equal(parse(cases[i].text, &req, &e), -EINVAL);
		assert_string_equal(e.text, cases[i].sentence);
		assert_string_equal(err_qmp_class(e.kind), "GenericError");
		assert_int_equal(req.id != NULL, cases[i].id != NULL);
		if (req.id)
			assert_string_equal(req.id, cases[i].id);
		qmp_request_clear(&req);
	}
}

/* Bad JSON: refused, and an id that may itself be broken is never echoed. */
static void test_bad_json(void **state)
{
	static const char *const texts[] = {
		"{\"execute\":}", "{\"execute\" \"x\"}", "{execute:\"x\"}", "{\"execute\":\"x\",}", "}", "]", "{]", "[}",
		",", ":", "nope ", "{\"id\":1,\"execute\":\"x\",\"execute\":\"x\"}", "{\"id\":1,\"id\":2}",
		"{\"id\":\"\\q\",\"execute\":\"x\"}", "{\"id\":\"\\ud800\",\"execute\":\"x\"}",
		"{\"id\":\"\xc3(\",\"execute\":\"x\"}", "{\"id\":tru,\"execute\":\"x\"}",
		"{\"id\":1-2,\"execute\":\"x\"}", "{\"id\":1e5e,\"execute\":\"x\"}", "{\"id\":1 2,\"execute\":\"x\"}",
		"{\"id\":[1 2],\"execute\":\"x\"}", "{\"id\":,\"execute\":\"x\"}", "{\"id\":{\"a\":1,\"a\":2}}",
		"{\"id\":1 \"x\":2}", "{\"id\":\"a\"1}", "{\"id\":{1:2}}", "{\"id\"}",
		"{\"execute\":\"x\",\"arguments\":{\"n\":1e400}}", "{\"execute\":\"a\\u0000b\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct qmp_request req;
		struct err e;

		assert_int_equal(parse(texts[i], &req, &e), -EINVAL);
		assert_memory_equal(e.text, "JSON parse error, ", 18);
		assert_null(req.id);
		qmp_request_clear(&req);
	}
}

/* --- builders --- */

static void check_line(char *line, const char *expected)
{
	assert_non_null(line);
	assert_string_equal(line, expected);
	free(line);
}

static void test_format(void **state)
{
	json_t *v = json_pack("{s:s}", "a", "caf\xc3\xa9");
	struct err e;

	(void)state;
	check_line(qmp_format_greeting("vmpoke 0.1.0", 1, 2, 3),
		   "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 2, \"major\": 1}, "
		   "\"package\": \"vmpoke 0.1.0\"}, \"capabilities\": []}}\r\n");
	check_line(qmp_format_return(NULL, NULL), "{\"return\": {}}\r\n");
	check_line(qmp_format_return(v, "1e400"), "{\"return\": {\"a\": \"caf\\u00E9\"}, \"id\": 1e400}\r\n");
	check_line(qmp_format_command("x", NULL, NULL), "{\"execute\": \"x\"}\r\n");
	check_line(qmp_format_command("x", v, "7"),
		   "{\"execute\": \"x\", \"arguments\": {\"a\": \"caf\\u00E9\"}, \"id\": 7}\r\n");
	json_decref(v);
	err_set(&e, ERR_NOT_FOUND, ENOENT, NULL, "no VM named 'x'");
	check_line(qmp_format_error(&e, "\"q\""),
		   "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no VM named 'x'\", "
		   "\"detail\": {\"kind\": \"not-found\", \"errno\": 2}}, \"id\": \"q\"}\r\n");
}

static void test_format_event(void **state)
{
	json_t *data = json_pack("{s:s}", "vm", "a");
	char *line = qmp_format_event("VM_ADDED", data);
	json_t *j = json_loads(line, 0, NULL);

	(void)state;
	assert_int_equal(data->refcount, 1);
	assert_string_equal(line + strlen(line) - 2, "\r\n");
	assert_string_equal(json_string_value(json_object_get(j, "event")), "VM_ADDED");
	assert_true(json_equal(json_object_get(j, "data"), data));
	json_t *stamp = json_object_get(j, "timestamp");
	assert_true(json_integer_value(json_object_get(stamp, "seconds")) > 1700000000);
	assert_true(json_is_integer(json_object_get(stamp, "microseconds")));
	json_decref(j);
	free(line);
	json_decref(data);
	line = qmp_format_event("X", NULL);
	assert_null(strstr(line, "data"));
	free(line);
}

static void test_format_too_large(void **state)
{
	char *big = malloc(QMP_MESSAGE_MAX);

	(void)state;
	memset(big, 'x', QMP_MESSAGE_MAX - 1);
	big[QMP_MESSAGE_MAX - 1] = '\0';
	json_t *v = json_string(big);
	char *line = qmp_format_return(v, "3");
	assert_true(strlen(line) < 1000);
	assert_non_null(strstr(line, "\"reply-size\""));
	assert_non_null(strstr(line, "\"id\": 3}"));
	free(line);
	json_decref(v);
	free(big);
}

static void test_message_parse(void **state)
{
	const struct qmp_frame good = { .kind = QMP_FRAME_MESSAGE, .text = "{\"a\":1}", .len = 7 };
	const struct qmp_frame array = { .kind = QMP_FRAME_MESSAGE, .text = "[1]", .len = 3 };
	const struct qmp_frame bad = { .kind = QMP_FRAME_MESSAGE, .text = "{]", .len = 2 };
	struct err e;
	json_t *j;

	(void)state;
	assert_int_equal(qmp_message_parse(&good, &j, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(j, "a")), 1);
	json_decref(j);
	assert_int_equal(qmp_message_parse(&array, &j, &e), -EBADMSG);
	assert_int_equal(qmp_message_parse(&bad, &j, &e), -EBADMSG);
}

/* --- errors and addresses --- */

static void test_error_round_trip(void **state)
{
	(void)state;
	for (int k = ERR_FAILED; k < ERR_KIND_COUNT; k++) {
		struct err e, back;

		err_set_addr(&e, (enum err_kind)k, EBUSY, "kprobe", 0xffffffff81000000u, "site %d", 2);
		strcpy(e.vm, "web1");
		strcpy(e.override, "--wait");
		e.blocker = (struct err_blocker){ "task stack", k % 2 ? 4711 : -1, "sleep", "do_nanosleep+0x7b" };
		json_t *j = qmp_error_to_json(&e);
		assert_string_equal(json_string_value(json_object_get(j, "class")), err_qmp_class(e.kind));
		assert_int_equal(qmp_error_from_json(j, &back), -EBUSY);
		assert_int_equal(back.kind, e.kind);
		assert_int_equal(back.error, e.error);
		assert_true(back.has_addr && back.addr == e.addr);
		assert_string_equal(back.rule, e.rule);
		assert_string_equal(back.vm, e.vm);
		assert_string_equal(back.text, e.text);
		assert_string_equal(back.override, e.override);
		assert_string_equal(back.blocker.where, e.blocker.where);
		assert_string_equal(back.blocker.comm, e.blocker.comm);
		assert_string_equal(back.blocker.symbol, e.blocker.symbol);
		assert_int_equal(back.blocker.pid, e.blocker.pid);
		json_decref(j);
	}
}

static void test_error_of_qemu(void **state)
{
	static const struct {
		const char *class;
		enum err_kind kind;
		int error;
	} cases[] = {
		{ "GenericError", ERR_FAILED, EIO },	      { "DeviceNotFound", ERR_NOT_FOUND, ENOENT },
		{ "DeviceNotActive", ERR_INACTIVE, ENOTCONN }, { "CommandNotFound", ERR_NO_COMMAND, ENOSYS },
		{ "Whatever", ERR_FAILED, EIO },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *j = json_pack("{s:s, s:s}", "class", cases[i].class, "desc", "because");
		struct err e;

		assert_int_equal(qmp_error_from_json(j, &e), -cases[i].error);
		assert_int_equal(e.kind, cases[i].kind);
		assert_string_equal(e.text, "because");
		json_decref(j);
	}
}

/* A peer may send anything as "error"; what results is still an error. */
static void test_error_hostile(void **state)
{
	static const char *const texts[] = {
		"{}", "[]", "1", "{\"class\": 1, \"desc\": {}, \"detail\": []}", "{\"detail\": {\"kind\": \"none\"}}",
		"{\"detail\": {\"kind\": 1, \"errno\": 0, \"rule\": 1, \"address\": \"x\", \"vm\": []}}",
		"{\"detail\": {\"errno\": -5}}", "{\"detail\": {\"errno\": 9999999999}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *j = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		struct err e;

		assert_int_equal(qmp_error_from_json(j, &e), -EIO);
		assert_int_equal(e.kind, ERR_FAILED);
		assert_false(e.has_addr);
		assert_true(e.text[0]);
		json_decref(j);
	}
	assert_int_equal(qmp_error_from_json(NULL, NULL), -EIO);
}

static void test_error_bad_utf8(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, ERR_FAILED, EIO, NULL, "comm is %s", "\xff\x1b[2J\xc3");
	char *line = qmp_format_error(&e, NULL);
	assert_non_null(strstr(line, "\"comm is ??[2J?\""));
	free(line);
}

static void test_address(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} cases[] = {
		{ "0xffffffff81000000", 0, 0xffffffff81000000u }, { "0x0", 0, 0 }, { "0xAbC", 0, 0xabc },
		{ "0x00000000000000001", -EINVAL, 0 }, { "0x", -EINVAL, 0 }, { "", -EINVAL, 0 }, { "12", -EINVAL, 0 },
		{ "0x1g", -EINVAL, 0 }, { " 0x1", -EINVAL, 0 }, { "-0x1", -EINVAL, 0 }, { "0x1 ", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *j = json_string(cases[i].text);
		uint64_t v = 0;

		assert_int_equal(qmp_address_parse(j, &v), cases[i].r);
		assert_true(v == cases[i].v);
		json_decref(j);
	}
	json_t *n = json_integer(1);
	uint64_t v;
	assert_int_equal(qmp_address_parse(n, &v), -EINVAL);
	assert_int_equal(qmp_address_parse(NULL, &v), -EINVAL);
	json_decref(n);
	json_t *a = qmp_address(0xffffffff81000000u);
	assert_string_equal(json_string_value(a), "0xffffffff81000000");
	json_decref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lexer),	       cmocka_unit_test(test_depth),
		cmocka_unit_test(test_depth_reset),    cmocka_unit_test(test_size),
		cmocka_unit_test(test_oversize),       cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_request),	       cmocka_unit_test(test_id_verbatim),
		cmocka_unit_test(test_id_escaped_key), cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_bad_json),       cmocka_unit_test(test_format),
		cmocka_unit_test(test_format_event),   cmocka_unit_test(test_format_too_large),
		cmocka_unit_test(test_message_parse),  cmocka_unit_test(test_error_round_trip),
		cmocka_unit_test(test_error_of_qemu),  cmocka_unit_test(test_error_hostile),
		cmocka_unit_test(test_error_bad_utf8), cmocka_unit_test(test_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
