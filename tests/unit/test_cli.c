// SPDX-License-Identifier: GPL-2.0-or-later
/* The vmpoke program from outside: usage, errors of every kind, peers that break, streams. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "tests/fake/cli_program.h"

/* --- what is said without a daemon --- */

static void test_usage(void **state)
{
	static const struct cli_case cases[] = {
		{ "typo", { "aply" }, {}, 2, "", "vmpoke: unknown verb 'aply'; did you mean 'apply'?\n" },
		{ "swapped letters", { "lsit" }, {}, 2, "", "vmpoke: unknown verb 'lsit'; did you mean 'list'?\n" },
		{ "typo of an alias", { "unlod" }, {}, 2, "", "vmpoke: unknown verb 'unlod'; did you mean 'unload'?\n" },
		{ "nothing close", { "frobnicate" }, {}, 2, "", "vmpoke: unknown verb 'frobnicate'; see 'vmpoke help'\n" },
		{ "short typo", { "zz" }, {}, 2, "", "vmpoke: unknown verb 'zz'; see 'vmpoke help'\n" },
		{ "abbreviated option", { "list", "--js" }, {}, 2, "", "vmpoke: unknown option '--js'; did you mean '--json'?\n" },
		{ "abbreviation with value", { "--time=3", "list" }, {}, 2, "",
		  "vmpoke: unknown option '--time'; did you mean '--timeout'?\n" },
		{ "abbreviated dry run changes nothing", { "apply", "web1", "p", "--dry" }, {}, 2, "",
		  "vmpoke: unknown option '--dry'; did you mean '--dry-run'?\n" },
		{ "unknown letter", { "-x", "list" }, {}, 2, "", "vmpoke: unknown option '-x'; see 'vmpoke help'\n" },
		{ "value missing", { "list", "-c" }, {}, 2, "", "vmpoke: option '-c' needs an argument: SOCKET\n" },
		{ "value unwanted", { "list", "--json=1" }, {}, 2, "", "vmpoke: option '--json' takes no argument\n" },
		{ "empty value", { "add", "x", "--qmp=" }, {}, 2, "", "vmpoke: '' is no value for option '--qmp': ..." },
		{ "bad timeout", { "--timeout", "1e3", "list" }, {}, 2, "", "vmpoke: '1e3' is no value for option '--timeout': ..." },
		{ "negative timeout", { "--timeout=-1", "list" }, {}, 2, "", "vmpoke: '-1' is no value for option '--timeout': ..." },
		{ "huge timeout", { "--timeout", "601", "list" }, {}, 2, "", "vmpoke: '601' is no value for option..." },
		{ "lone point", { "--timeout", ".", "list" }, {}, 2, "", "vmpoke: '.' is no value for option..." },
		{ "bad colour", { "--color", "red", "list" }, {}, 2, "", "vmpoke: 'red' is no value for option '--color': ..." },
		{ "no such mode", { "apply", "web1", "p", "--mode", "swift" }, {}, 2, "",
		  "vmpoke: 'swift' is no value for option '--mode': ..." },
		{ "no such traps", { "apply", "web1", "p", "--traps", "nets" }, {}, 2, "",
		  "vmpoke: 'nets' is no value for option '--traps': ..." },
		{ "bad id", { "history", "web1", "--trace=x.svg", "--id", "0" }, {}, 2, "", "vmpoke: '0' is no value for option '--id': ..." },
		{ "bad limit", { "history", "web1", "--limit", "0" }, {}, 2, "", "vmpoke: '0' is no value for option '--limit': ..." },
		{ "option of another verb", { "list", "--keep-patches" }, {}, 2, "",
		  "vmpoke: 'list' has no option '--keep-patches'; see 'vmpoke help list'\n" },
		{ "dry run of revert does not exist", { "revert", "web1", "p", "--dry-run" }, {}, 2, "",
		  "vmpoke: 'revert' has no option '--dry-run'; see 'vmpoke help revert'\n" },
		{ "arguments missing", { "apply", "web1" }, {}, 2, "", "vmpoke: 'apply' needs VM PATCH; see 'vmpoke help apply'\n" },
		{ "argument too many", { "info", "web1", "web2" }, {}, 2, "",
		  "vmpoke: 'info' takes no argument 'web2'; see 'vmpoke help info'\n" },
		{ "empty argument", { "info", "" }, {}, 2, "", "vmpoke: argument 1 of 'info' is empty\n" },
		{ "not UTF-8", { "info", "\xff" }, {}, 2, "", "vmpoke: argument 1 of 'info' is not UTF-8\n" },
		{ "add without socket", { "add", "web1" }, {}, 2, "",
		  "vmpoke: 'add' needs --qmp PATH, the QMP socket of the VM's QEMU\n" },
		{ "escape sequence in a verb", { "\033[2Jlist" }, {}, 2, "", "vmpoke: unknown verb '\\x1b[2Jlist'; see 'vmpoke help'\n" },
		{ "patch file missing", { "apply", "web1", "./nowhere.yaml" }, {}, 4, "",
		  "vmpoke: cannot read './nowhere.yaml': No such file or directory\n" },
		{ "no patch name", { "apply", "web1", "a b" }, {}, 2, "",
		  "vmpoke: 'a b' is neither a file nor a patch name (letters, digits, '.', '_', '-')\n" },
		{ "patch file is a folder", { "check", "web1", "/tmp" }, {}, 1, "", "vmpoke: cannot read '/tmp': Is a directory\n" },
		{ "patch file is binary", { "check", "web1", "/dev/zero" }, {}, 2, "",
		  "vmpoke: '/dev/zero' is larger than 256 KiB: no patch file\n" },
		{ "patch file is empty", { "check", "web1", "/dev/null" }, {}, 2, "", "vmpoke: '/dev/null' is empty: no patch file\n" },
		{ "qmp text is no JSON", { "qmp", "hello" }, {}, 2, "", "vmpoke: not a QMP command: ..." },
		{ "qmp text is cut", { "qmp", "{\"execute\": " }, {}, 2, "", "vmpoke: not a QMP command: the JSON text is not complete..." },
		{ "two qmp commands", { "qmp", "{\"execute\": \"stop\"} {\"execute\": \"cont\"}" }, {}, 2, "",
		  "vmpoke: not a QMP command: there is more behind it..." },
		{ "qmp without a name", { "qmp", "{\"arguments\": {}}" }, {}, 2, "", "vmpoke: not a QMP command: ..." },
		{ "qmp with nothing on stdin", { "qmp", "-" }, {}, 2, "", "vmpoke: not a QMP command: the JSON text is not complete..." },
		{ "own version", { "--version" }, {}, 0, "vmpoke 0.1.0\n", "" },
		{ "help", { "help" }, {}, 0, "Usage: vmpoke [OPTIONS] VERB [ARGUMENTS]\n...", "" },
		{ "help by option", { "-h" }, {}, 0, "Usage: vmpoke [OPTIONS] VERB [ARGUMENTS]\n...", "" },
		{ "help of a verb", { "help", "load" }, {}, 0, "Usage: vmpoke [OPTIONS] apply VM PATCH\n\napply a patch\n...", "" },
		{ "help of a verb by option", { "apply", "--help" }, {}, 0, "Usage: vmpoke [OPTIONS] apply VM PATCH\n...", "" },
		{ "help of nothing known", { "help", "aply" }, {}, 2, "", "vmpoke: unknown verb 'aply'; did you mean 'apply'?\n" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

/* --- errors, broken peers --- */

#define P1 "{\"vm\": \"web1\", \"patch\": \"p1\"}"

static void test_error_kinds(void **state)
{
	static const struct {
		const char *kind;
		int exit;
	} kinds[] = {
		{ "failed", 1 }, { "usage", 2 }, { "not-applicable", 3 }, { "not-found", 4 }, { "refused", 5 }, { "timeout", 6 },
		{ "unreachable", 7 }, { "partial", 8 }, { "attention", 9 }, { "inactive", 1 }, { "no-command", 2 }, { "of the future", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char reply[256];
		struct cli_case t = { kinds[i].kind, { "apply", "web1", "p1" }, { { "patch-apply", P1, reply } }, kinds[i].exit, "",
				      "vmpoke: it is so\n" };

		snprintf(reply, sizeof(reply), "\"error\": {\"class\": \"GenericError\", \"desc\": \"it is so\", \"detail\": {\"kind\": \"%s\", \"errno\": 5}}",
			 kinds[i].kind);
		cases_run(&t, 1);
	}
}

static void test_broken_peer(void **state)
{
	static const struct cli_case cases[] = {
		{ "closes instead of answering", { "apply", "web1", "p1" }, { { "patch-apply", P1, REPLY_CLOSE } }, 7, "",
		  "vmpoke: vmpoked closed the connection before it answered 'patch-apply'; it may still be done or undone: ask 'vmpoke history'\n" },
		{ "closes in the middle of an answer", { "info", "web1" }, { { "query-vm", "{\"vm\": \"web1\"}", REPLY_HALF } }, 7, "",
		  "vmpoke: vmpoked closed the connection before it answered 'query-vm'\n" },
		{ "answers garbage", { "list", "--timeout", "2" }, { { "query-vms", NULL, REPLY_GARBAGE } }, 7, "", "vmpoke: ..." },
		{ "never answers", { "list", "--timeout", "0.3" }, { { "query-vms", NULL, REPLY_SILENT } }, 7, "",
		  "vmpoke: no answer to 'query-vms' from vmpoked within 0.3 s\n" },
		{ "answers an array for an object", { "info", "web1" }, { { "query-vm", "{\"vm\": \"web1\"}", "\"return\": []" } }, 7, "",
		  "vmpoke: the answer to 'query-vm' from '..." },
		{ "answers an object for an array", { "list", "--json" }, { { "query-vms", NULL, "\"return\": {}" } }, 7, "",
		  "vmpoke: the answer to 'query-vms' from '..." },
		{ "error without detail", { "list" }, { { "query-vms", NULL, "\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"what?\"}" } }, 2, "",
		  "vmpoke: what?\n" },
		{ "escape sequence in an error", { "list" }, { { "query-vms", NULL, "\"error\": {\"class\": \"GenericError\", \"desc\": \"a\\u001bc\"}" } }, 1, "",
		  "vmpoke: a\\x1bc\n" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_no_daemon(void **state)
{
	static const char *const list[] = { "list", NULL }, *const version[] = { "version", NULL },
				*const version_json[] = { "version", "--json", NULL };
	static struct program r;
	char path[128], want[512];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	snprintf(path, sizeof(path), "%s/none.sock", program_dir);
	assert_int_equal(program_run(&r, path, list, -1), 7);
	snprintf(want, sizeof(want), "vmpoke: cannot reach vmpoked at '%s': No such file or directory "
		 "(is vmpoked running? systemctl start vmpoked, or -c SOCKET)\n", path);
	assert_string_equal(r.err, want);
	assert_string_equal(r.out, "");
	assert_int_equal(program_run(&r, path, version, -1), 0);
	snprintf(want, sizeof(want), "client: vmpoke 0.1.0\ndaemon: not reachable at %s\n", path);
	assert_string_equal(r.out, want);
	assert_int_equal(program_run(&r, path, version_json, -1), 0);
	assert_string_equal(r.out, "{\"client\": \"0.1.0\", \"daemon\": null}\n");
	/* A socket file whose daemon died. */
	strcpy(sa.sun_path, path);
	assert_return_code(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), errno);
	close(fd);
	assert_int_equal(program_run(&r, path, list, -1), 7);
	assert_non_null(strstr(r.err, "Connection refused"));
	unlink(path);
}

static void test_silent_greeting(void **state)
{
	static const char *const list[] = { "list", "--timeout", "0.2", NULL };
	static struct program r;
	char path[128];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	snprintf(path, sizeof(path), "%s/mute.sock", program_dir);
	strcpy(sa.sun_path, path);
	assert_return_code(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), errno);
	assert_return_code(listen(fd, 1), errno);
	assert_int_equal(program_run(&r, path, list, -1), 7);
	assert_non_null(strstr(r.err, "vmpoke: no greeting from '"));
	close(fd);
	unlink(path);
}

/* --- events, standard output --- */

static const char two_events[] =
	"{\"timestamp\": {\"seconds\": 1795219200, \"microseconds\": 5}, \"event\": \"VM_ADDED\", \"data\": {\"vm\": \"web1\"}}\r\n"
	"{\"timestamp\": {\"seconds\": 1795219201, \"microseconds\": 6}, \"event\": \"VM_STATE_CHANGE\", \"data\": {\"vm\": \"web1\", \"state\": \"paused\", \"reason\": \"by hand\"}}\r\n";

static void events_until_signal(const char *const *argv, int signal_number, const char *want)
{
	static const struct step none[] = { { NULL, NULL, NULL } };
	static struct program r;
	struct fake f;

	fake_start(&f, none, two_events);
	program_start(&r, f.path, argv, NULL, -1);
	program_read(&r, "paused");
	kill(r.pid, signal_number);
	int code = program_end(&r);
	fake_stop(&f);
	assert_string_equal(r.out, want);
	assert_string_equal(r.err, "");
	assert_int_equal(code, 0);
}

static void test_events(void **state)
{
	static const char *const plain[] = { "events", NULL }, *const json[] = { "events", "--json", NULL },
				*const bounded[] = { "events", "--timeout", "0.5", "-q", NULL };
	static const char lines[] = "2026-11-21T00:00:00Z VM_ADDED vm=web1\n"
				    "2026-11-21T00:00:01Z VM_STATE_CHANGE vm=web1 state=paused reason=\"by hand\"\n";

	(void)state;
	events_until_signal(plain, SIGINT, lines);
	events_until_signal(json, SIGTERM,
			    "{\"timestamp\": {\"seconds\": 1795219200, \"microseconds\": 5}, \"event\": \"VM_ADDED\", \"data\": {\"vm\": \"web1\"}}\n"
			    "{\"timestamp\": {\"seconds\": 1795219201, \"microseconds\": 6}, \"event\": \"VM_STATE_CHANGE\", \"data\": {\"vm\": \"web1\", \"state\": \"paused\", \"reason\": \"by hand\"}}\n");
	events_until_signal(bounded, 0, lines);
}

static void test_events_connection_ends(void **state)
{
	static const char *const argv[] = { "events", NULL };
	static const struct step none[] = { { NULL, NULL, NULL } };
	static struct program r;
	struct fake f;

	(void)state;
	fake_start(&f, none, two_events);
	program_start(&r, f.path, argv, NULL, -1);
	program_read(&r, "paused");
	fake_stop(&f);
	assert_int_equal(program_end(&r), 7);
	assert_string_equal(r.err, "vmpoke: vmpoked closed the connection, or broke it: no more events\n");
}

static void test_stdout_fails(void **state)
{
	static const char *const list[] = { "list", "--json", NULL }, *const events[] = { "events", NULL };
	static const struct step steps[] = { { "query-vms", NULL, "\"return\": []" }, { "query-vms", NULL, "\"return\": []" }, { NULL, NULL, NULL } };
	static struct program r;
	struct fake f;
	int p[2], full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	fake_start(&f, steps, NULL);
	assert_int_equal(program_run(&r, f.path, list, full), 1);
	assert_string_equal(r.err, "vmpoke: cannot write to standard output: No space left on device\n");
	close(full);
	assert_return_code(pipe2(p, O_CLOEXEC), errno);
	close(p[0]);
	assert_int_equal(program_run(&r, f.path, list, p[1]), 1);
	assert_string_equal(r.err, "vmpoke: cannot write to standard output: Broken pipe\n");
	/* No event comes, and still it notices that nobody reads. */
	assert_int_equal(program_run(&r, f.path, events, p[1]), 1);
	assert_string_equal(r.err, "vmpoke: cannot write to standard output: Broken pipe\n");
	close(p[1]);
	fake_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_error_kinds),
		cmocka_unit_test(test_broken_peer),
		cmocka_unit_test(test_no_daemon),
		cmocka_unit_test(test_silent_greeting),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_events_connection_ends),
		cmocka_unit_test(test_stdout_fails),
	};

	return cmocka_run_group_tests(tests, program_dir_make, program_dir_remove);
}
