// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy in a running vmpoked, with workers that take anything: what is refused never
 * reaches one, and every answer is in the audit file. We are uid 0 or not; the rules name our own uid.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "protocol/util.h"
#include "tests/fake/daemon_program.h"
#include "vmm/control/audit.h"
#include "vmm/control/author.h"

static struct daemon_program program;

static void write_config(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void write_config(const char *fmt, ...)
{
	char path[128], text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	daemon_program_path(&program, "vmpoked.conf", path, sizeof(path));
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static int init(void **state)
{
	(void)state;
	daemon_program_init(&program);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	if (program.pid)
		assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_clean(&program);
	return 0;
}

/* The last record of the audit file; a new reference. */
static json_t *audit_last(void)
{
	_cleanup_free_ char *text = NULL;
	char path[128];
	size_t len;

	daemon_program_path(&program, "state/audit.jsonl", path, sizeof(path));
	assert_int_equal(read_file(path, 1 << 20, &text, &len), 0);
	assert_true(len > 1 && text[len - 1] == '\n');
	text[len - 1] = '\0';
	char *last = strrchr(text, '\n');
	json_t *o = json_loads(last ? last + 1 : text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	return o;
}

static void audited(const char *result, const char *command, const char *vm, const char *rule)
{
	json_t *o = audit_last();

	assert_string_equal(get_str(o, "result"), result);
	assert_string_equal(get_str(o, "command"), command);
	assert_string_equal(get_str(o, "vm"), vm);
	assert_string_equal(get_str(o, "rule"), rule);
	assert_int_equal(get_int(o, "uid"), getuid());
	assert_int_equal(get_int(o, "pid"), getpid());
	json_decref(o);
}

static void test_without_a_file(void **state)
{
	(void)state;
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false), *ro = daemon_program_connect(&program, true);
	struct err e;

	json_decref(add_vm(rw, "ok"));
	audited("allowed", "vm-add", "ok", "");
	json_decref(call_ok(rw, "patch-apply", json_pack("{s:s, s:s, s:s}", "vm", "ok", "text", "x", "mode", "stopped")));
	audited("done", "patch-apply", "ok", "");
	json_decref(call_ok(rw, "query-vms", NULL));
	audited("done", "patch-apply", "ok", ""); /* looking is not noted */
	call_fails(ro, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", "x"), ERR_REFUSED, &e);
	audited("refused", "patch-apply", "", "read-only");
	/* vmpoked's own to give. */
	call_fails(rw, "patch-apply", json_pack("{s:s, s:s, s:{}}", "vm", "ok", "text", "x", "by"), ERR_USAGE, &e);
	assert_string_equal(e.text, "Parameter 'by' is unexpected");
	/* minisign leaves leading zeros of an id away. */
	json_t *revoked = call_ok(rw, "manifest-revoke", json_pack("{s:s, s:s, s:i}", "patch", "fix", "key", "ABC", "serial", 3));
	assert_string_equal(get_str(revoked, "key"), "0000000000000ABC");
	assert_int_equal(get_int(revoked, "serial"), 3);
	json_decref(revoked);
	call_fails(rw, "manifest-revoke", json_pack("{s:s, s:s}", "patch", "fix", "key", "../x"), ERR_USAGE, &e);
	call_fails(rw, "manifest-revoke", json_pack("{s:s, s:s}", "patch", "../x", "key", "ABC"), ERR_USAGE, &e);
	qmp_client_free(rw);
	qmp_client_free(ro);
}

static void test_rules(void **state)
{
	struct err e;

	(void)state;
	write_config("[allow us]\nusers = %u\nmay = monitor manage apply check\nvms = web* ok\n", getuid());
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);

	call_fails(rw, "vm-add", json_pack("{s:s, s:s}", "name", "db1", "qmp", "/tmp/db1"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "policy");
	audited("refused", "vm-add", "db1", "policy");
	json_decref(add_vm(rw, "ok"));
	json_decref(call_ok(rw, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", "x")));
	call_fails(rw, "patch-revert", json_pack("{s:s, s:s}", "vm", "ok", "patch", "x"), ERR_REFUSED, &e);
	assert_non_null(strstr(e.text, "class revert"));
	audited("refused", "patch-revert", "ok", "policy");
	/* Nor by the way round of replacing it. */
	call_fails(rw, "patch-replace", json_pack("{s:s, s:s, s:s}", "vm", "ok", "old", "x", "text", "y"), ERR_REFUSED, &e);
	assert_non_null(strstr(e.text, "class revert"));
	audited("refused", "patch-replace", "ok", "policy");
	call_fails(rw, "patch-apply", json_pack("{s:s, s:s, s:s}", "vm", "ok", "text", "x", "mode", "stopped"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "override");
	assert_non_null(strstr(e.text, "'mode'"));
	call_fails(rw, "patch-apply",
		   json_pack("{s:s, s:s}", "vm", "ok", "text",
			     "vmpoke: 1\nname: two\natomic: false\nsites:\n  - { at: f, kind: return, value: 1 }\n"
			     "  - { at: g, kind: return, value: 1 }\n"),
		   ERR_REFUSED, &e);
	assert_string_equal(e.rule, "override");
	assert_non_null(strstr(e.text, "'atomic'"));
	call_fails(rw, "vm-remove", json_pack("{s:s, s:b}", "vm", "ok", "keep-patches", 1), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "override");
	call_fails(rw, "query-keys", NULL, ERR_REFUSED, &e);
	call_fails(rw, "job-cancel", json_pack("{s:s}", "id", "none"), ERR_NOT_FOUND, &e);
	qmp_client_free(rw);
}

/* A record says what a revert will write: where patches have to be signed it is no way round. */
static void test_adopting_is_unsigned(void **state)
{
	static const char fmt[] = "[policy]\nunsigned = refuse\n[allow us]\nusers = %u\nmay = *\nunsigned = %s\n";
	struct err e;

	(void)state;
	write_config(fmt, getuid(), "refuse");
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);
	json_decref(add_vm(rw, "ok"));
	call_fails(rw, "patch-adopt", json_pack("{s:s, s:[]}", "vm", "ok", "records"), ERR_REFUSED, &e);
	assert_string_equal(e.text, "records are not signed, and unsigned patches are not allowed here");
	audited("refused", "patch-adopt", "ok", "unsigned");
	call_fails(rw, "patch-check", json_pack("{s:s, s:s}", "vm", "ok", "patch", "x"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "unsigned");
	json_decref(call_ok(rw, "patch-export", json_pack("{s:s, s:s}", "vm", "ok", "patch", "x"))); /* looks, and brings none */
	qmp_client_free(rw);
	assert_int_equal(daemon_program_stop(&program), 0);
	write_config(fmt, getuid(), "allow");
	daemon_program_start(&program);
	rw = daemon_program_connect(&program, false);
	json_decref(call_ok(rw, "patch-adopt", json_pack("{s:s, s:[]}", "vm", "ok", "records")));
	audited("done", "patch-adopt", "ok", "");
	qmp_client_free(rw);
}

/* Whatever word a client has for a VM, the rule is about its name. */
static void test_uuid(void **state)
{
	static const char uuid[] = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";
	struct err e;

	(void)state;
	write_config("[allow us]\nusers = %u\nmay = manage\n[allow some]\nusers = %u\nmay = monitor\nvms = 4* web*\n", getuid(), getuid());
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);
	json_decref(call_ok(rw, "vm-add", json_pack("{s:s, s:s, s:s}", "name", "ok", "qmp", "/tmp/ok", "uuid", uuid)));
	/* Nobody else can be called so. */
	call_fails(rw, "vm-add", json_pack("{s:s, s:s}", "name", "4DEA22B3-1d52-d8f3-2516-782e98ab3fa0", "qmp", "/tmp/ok2"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
	/* Nor was anybody before, in whatever case. */
	json_decref(call_ok(rw, "vm-add", json_pack("{s:s, s:s}", "name", "0000000A-0000-0000-0000-00000000000B", "qmp", "/tmp/ok3")));
	call_fails(rw, "vm-add", json_pack("{s:s, s:s, s:s}", "name", "ok4", "qmp", "/tmp/ok4", "uuid", "0000000a-0000-0000-0000-00000000000b"),
		   ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
	json_decref(call_ok(rw, "vm-remove", json_pack("{s:s}", "vm", "0000000A-0000-0000-0000-00000000000B")));
	call_fails(rw, "query-vm", json_pack("{s:s}", "vm", "ok"), ERR_REFUSED, &e);
	call_fails(rw, "query-vm", json_pack("{s:s}", "vm", uuid), ERR_REFUSED, &e); /* "4*" is not for it */
	assert_non_null(strstr(e.text, "to 'ok'"));
	write_config("[allow us]\nusers = %u\nmay = *\nvms = ok\n", getuid());
	kill(program.pid, SIGHUP);
	for (int i = 0;; i++) {
		json_t *vms = call_ok(rw, "query-vms", NULL);
		size_t n = json_array_size(vms);
		json_decref(vms);
		if (n == 1)
			break;
		poll(NULL, 0, 5);
		assert_true(i < 12000);
	}
	json_decref(call_ok(rw, "patch-apply", json_pack("{s:s, s:s}", "vm", uuid, "text", "x")));
	audited("done", "patch-apply", "ok", "");
	qmp_client_free(rw);
}

/* Waits until the daemon has said it so often. */
static void log_await(const char *sentence, unsigned times)
{
	char path[128];

	daemon_program_path(&program, "stderr", path, sizeof(path));
	for (int i = 0;; i++) {
		_cleanup_free_ char *text = NULL;
		unsigned n = 0;
		size_t len;

		assert_int_equal(read_file(path, 1 << 20, &text, &len), 0);
		for (const char *at = text; (at = strstr(at, sentence)); at++)
			n++;
		if (n >= times)
			return;
		assert_true(i < 12000);
		poll(NULL, 0, 5);
	}
}

/* SIGHUP, for the so-many-th time without effect, and why. */
static void reload_refused(const char *sentence, unsigned times)
{
	kill(program.pid, SIGHUP);
	log_await("stay as they were", times);
	log_await(sentence, 1);
}

/* SIGHUP: the new policy at once, for clients that are connected as well; a bad file changes nothing. */
static void test_reload(void **state)
{
	struct err e;

	(void)state;
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);
	json_decref(add_vm(rw, "ok"));
	json_decref(add_vm(rw, "other"));
	write_config("[allow us]\nusers = %u\nmay = monitor\nvms = ok\n", getuid());
	kill(program.pid, SIGHUP);
	for (int i = 0;; i++) {
		json_t *vms = call_ok(rw, "query-vms", NULL);
		size_t n = json_array_size(vms);
		json_decref(vms);
		if (n == 1) /* the other one is not its business any more */
			break;
		poll(NULL, 0, 5);
		assert_true(i < 12000);
	}
	call_fails(rw, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", "x"), ERR_REFUSED, &e);
	call_fails(rw, "query-vm", json_pack("{s:s}", "vm", "other"), ERR_REFUSED, &e);
	json_decref(call_ok(rw, "query-vm", json_pack("{s:s}", "vm", "ok")));
	write_config("[allow us]\nusers = *\nmay = everything\n");
	reload_refused("vmpoked.conf:3: unknown class 'everything'", 1);
	call_fails(rw, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", "x"), ERR_REFUSED, &e);
	qmp_client_free(rw);
}

/* A policy that was deleted is not one that allows all: what was in force stays. */
static void test_reload_without(void **state)
{
	char path[128];
	struct err e;

	(void)state;
	write_config("[policy]\nunsigned = refuse\n[allow us]\nusers = %u\nmay = monitor\n", getuid());
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);
	write_config("[vmpoked]\nlog-level = debug\n");
	reload_refused("there is no [allow] section any more", 1);
	write_config("[allow us]\nusers = *\nmay = *\n");
	reload_refused("[policy] does not say 'unsigned' any more", 2);
	daemon_program_path(&program, "vmpoked.conf", path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	reload_refused("vmpoked.conf", 3); /* --config: it must be there */
	call_fails(rw, "vm-remove", json_pack("{s:s}", "vm", "ok"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "policy");
	/* Said in so many words it is taken. */
	write_config("[policy]\nunsigned = allow\n[allow us]\nusers = *\nmay = *\n");
	kill(program.pid, SIGHUP);
	log_await("SIGHUP: policy with 1 [allow] sections", 1);
	call_fails(rw, "vm-remove", json_pack("{s:s}", "vm", "ok"), ERR_NOT_FOUND, &e);
	qmp_client_free(rw);
}

#define RULE_TEXT "vmpoke: 1\nname: p\nsites:\n  - { at: f, kind: return, value: 1 }\n"

/* What rule 1 has come to in a VM; a new reference. */
static json_t *rule_await(struct qmp_client *c, const char *vm, const char *state)
{
	for (uint64_t end = now_us() + 60 * 1000000ull; now_us() < end; poll(NULL, 0, 20)) {
		json_t *o = call_ok(c, "query-desired", json_pack("{s:s}", "vm", vm));
		json_t *p = json_incref(json_array_get(json_object_get(o, "desired"), 0));

		json_decref(o);
		if (strcmp(get_str(p, "state"), state) == 0)
			return p;
		json_decref(p);
	}
	fail_msg("rule 1 does not become '%s' in %s", state, vm);
	return NULL;
}

static void reload(unsigned times)
{
	kill(program.pid, SIGHUP);
	log_await("SIGHUP: policy with", times);
}

/* A rule is applied by the rights its author has then; in which VMs, too. */
static void test_author(void **state)
{
	(void)state;
	write_config("[allow us]\nusers = %u\nmay = *\noverrides = *\n", getuid());
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);
	json_t *o = call_ok(rw, "rule-add", json_pack("{s:s, s:s}", "pattern", "ok*", "text", RULE_TEXT));
	assert_int_equal(get_int(o, "added_by"), getuid());
	json_decref(o);
	write_config("[allow us]\nusers = %u\nmay = monitor manage check\n[allow some]\nusers = %u\nmay = rules\nvms = ok2\n", getuid(), getuid());
	reload(1);
	json_decref(add_vm(rw, "ok1"));
	o = rule_await(rw, "ok1", "refused");
	assert_non_null(strstr(get_str(o, "why"), "whoever added rule 1 may not do so now: uid"));
	assert_non_null(strstr(get_str(o, "why"), "(class rules) to 'ok1'"));
	assert_string_equal(get_str(o, "refusal"), "policy");
	json_decref(o);
	o = audit_last();
	assert_string_equal(get_str(o, "result"), "refused");
	assert_string_equal(get_str(o, "allowed_by"), "install-rule-1");
	assert_string_equal(get_str(o, "rule"), "policy");
	json_decref(o);
	json_decref(add_vm(rw, "ok2"));
	json_decref(rule_await(rw, "ok2", "applied"));
	write_config("[allow us]\nusers = %u\nmay = *\n", getuid());
	reload(2);
	json_decref(rule_await(rw, "ok1", "applied")); /* judged anew, without another boot */
	qmp_client_free(rw);
}

/* Sets or (NULL) takes away the author of rule 1, while no daemon runs. */
static void author_edit(json_t *uid)
{
	char path[128];

	daemon_program_path(&program, "state/rules/1.json", path, sizeof(path));
	json_t *o = json_load_file(path, 0, NULL);
	assert_non_null(o);
	if (uid)
		json_object_set_new(o, "added_by", uid);
	else
		json_object_del(o, "added_by");
	assert_int_equal(json_dump_file(o, path, 0), 0);
	json_decref(o);
}

/* Rules of before authors were noted, and of users that are not there (any more). */
static void test_author_unknown(void **state)
{
	(void)state;
	write_config("[policy]\nunsigned = allow\n[allow us]\nusers = %u\nmay = *\n[allow them]\ngroups = 0\nmay = rules\n", getuid());
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);
	json_decref(call_ok(rw, "rule-add", json_pack("{s:s, s:s}", "pattern", "ok*", "text", RULE_TEXT)));
	json_decref(add_vm(rw, "ok"));
	json_decref(rule_await(rw, "ok", "applied"));
	qmp_client_free(rw);
	assert_int_equal(daemon_program_stop(&program), 0);
	author_edit(NULL);
	daemon_program_start(&program);
	rw = daemon_program_connect(&program, false);
	json_decref(add_vm(rw, "ok2"));
	json_t *o = rule_await(rw, "ok2", "refused");
	assert_string_equal(get_str(o, "why"), "it is not known who added rule 1; add it again");
	json_decref(o);
	/* Who adds it again answers for it. */
	json_decref(call_ok(rw, "rule-add", json_pack("{s:s, s:s}", "pattern", "ok*", "text", RULE_TEXT)));
	json_decref(rule_await(rw, "ok2", "applied"));
	qmp_client_free(rw);
	assert_int_equal(daemon_program_stop(&program), 0);
	author_edit(json_integer(987654));
	daemon_program_start(&program);
	rw = daemon_program_connect(&program, false);
	json_decref(add_vm(rw, "ok3"));
	o = rule_await(rw, "ok3", "refused");
	assert_non_null(strstr(get_str(o, "why"), "uid 987654 may do nothing here"));
	json_decref(o);
	/* Without a policy anybody may, known or not. */
	qmp_client_free(rw);
	assert_int_equal(daemon_program_stop(&program), 0);
	author_edit(NULL);
	write_config("%s", "");
	daemon_program_start(&program);
	rw = daemon_program_connect(&program, false);
	json_decref(rule_await(rw, "ok3", "applied"));
	qmp_client_free(rw);
}

static void test_author_groups(void **state)
{
	const struct passwd *pw = getpwuid(0);
	struct peer p;
	struct err e;

	(void)state;
	assert_int_equal(author_read(987654, &p, &e), 0); /* of no user */
	assert_int_equal(p.uid, 987654);
	assert_true(p.n_groups == 0 && !peer_in_group(&p, 0));
	peer_clear(&p);
	if (!pw)
		skip();
	gid_t gid = pw->pw_gid;
	assert_int_equal(author_read(0, &p, &e), 0);
	assert_true(peer_in_group(&p, gid));
	assert_false(peer_in_group(&p, 987654));
	peer_clear(&p);
}

/* A mistake in the file or among the keys: no start, and the sentence names the place. */
static void test_bad_start(void **state)
{
	const char *const argv[] = { "--check-config", NULL }, *const start[] = { NULL };
	char out[4096], path[128];

	(void)state;
	write_config("[vmpoked]\n\nlog-lever = debug\n");
	assert_int_equal(daemon_program_run(&program, start, out, sizeof(out)), 1);
	assert_non_null(strstr(out, "vmpoked.conf:3: unknown key 'log-lever' in [vmpoked]"));
	assert_int_equal(daemon_program_run(&program, argv, out, sizeof(out)), 1);
	write_config("[policy]\nunsigned = refuse\n");
	assert_int_equal(daemon_program_run(&program, argv, out, sizeof(out)), 0);
	assert_string_equal(out, "policy with 0 [allow] sections, 0 keys\n");
	daemon_program_path(&program, "keys.d", path, sizeof(path));
	assert_int_equal(mkdir(path, 0755), 0);
	daemon_program_path(&program, "keys.d/bad.pub", path, sizeof(path));
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write_full(fd, "x\n", 2), 0);
	close(fd);
	assert_int_equal(daemon_program_run(&program, start, out, sizeof(out)), 1);
	assert_non_null(strstr(out, "bad.pub: not a public key of minisign"));
}

/* What cannot be written down is not done. */
static void test_no_audit_no_deed(void **state)
{
	char path[128];
	struct err e;

	(void)state;
	daemon_program_path(&program, "state", path, sizeof(path));
	mkdir(path, 0700);
	daemon_program_path(&program, "state/audit.jsonl", path, sizeof(path));
	if (mknod(path, S_IFCHR | 0600, makedev(1, 7)) < 0) /* /dev/full */
		skip();
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		skip(); /* no device files here */
	close(fd);
	daemon_program_start(&program);
	struct qmp_client *rw = daemon_program_connect(&program, false);
	call_fails(rw, "vm-add", json_pack("{s:s, s:s}", "name", "ok", "qmp", "/tmp/ok"), ERR_FAILED, &e);
	assert_string_equal(e.rule, "audit");
	json_t *vms = call_ok(rw, "query-vms", NULL);
	assert_int_equal(json_array_size(vms), 0);
	json_decref(vms);
	qmp_client_free(rw);
}

/* Who may do nothing cannot fill the disk by asking; what is left out is counted, and what is granted always written. */
static void test_flood(void **state)
{
	json_int_t refused = 0, suppressed = 0, allowed = 0;
	char path[128];
	struct err e;

	(void)state;
	daemon_program_start(&program);
	struct qmp_client *ro = daemon_program_connect(&program, true), *rw = daemon_program_connect(&program, false);
	json_decref(add_vm(rw, "ok"));
	for (int i = 0; i < 3000; i++) {
		call_fails(ro, "vm-remove", json_pack("{s:s}", "vm", "ok"), ERR_REFUSED, &e);
		if (i % 10 == 0)
			json_decref(call_ok(rw, "patch-verify", json_pack("{s:s}", "vm", "ok")));
	}
	qmp_client_free(ro);
	qmp_client_free(rw);
	assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_path(&program, "state/audit.jsonl", path, sizeof(path));
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	for (json_t *o; (o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(o)) {
		suppressed += json_integer_value(json_object_get(o, "suppressed"));
		refused += json_object_get(o, "command") && strcmp(get_str(o, "result"), "refused") == 0;
		allowed += json_object_get(o, "command") && strcmp(get_str(o, "command"), "patch-verify") == 0;
	}
	fclose(f);
	assert_int_equal(refused + suppressed, 3000);
	assert_true(refused >= AUDIT_LIMIT_REFUSALS && suppressed > 0);
	assert_int_equal(allowed, 300);
}

#define SECOND 1000000ull

static unsigned take_many(struct audit_limit *l, uid_t uid, uint64_t now, unsigned n)
{
	unsigned written = 0;

	while (n-- > 0)
		written += audit_limit_take(l, uid, now);
	return written;
}

/* Each user has a share of its own; what one is left out of is told once. */
static void test_limit(void **state)
{
	struct audit_limit l = { 0 };
	uint64_t now = 1000 * SECOND, n;
	uid_t uid;

	(void)state;
	assert_int_equal(take_many(&l, 1000, now, 70), AUDIT_LIMIT_REFUSALS);
	assert_int_equal(take_many(&l, 1001, now, 3), 3); /* the other one's flood is not its own */
	assert_false(audit_limit_over(&l, now, false, &uid, &n));
	now += AUDIT_LIMIT_US;
	assert_true(audit_limit_over(&l, now, false, &uid, &n));
	assert_int_equal(uid, 1000);
	assert_int_equal(n, 70 - AUDIT_LIMIT_REFUSALS);
	assert_false(audit_limit_over(&l, now, true, &uid, &n));
	assert_int_equal(take_many(&l, 1000, now, 60), AUDIT_LIMIT_REFUSALS);
	/* More users than are counted one by one share what is there for one. */
	for (uid = 2000; uid < 2000 + AUDIT_LIMIT_USERS - 1; uid++)
		assert_int_equal(take_many(&l, uid, now, 1), 1);
	assert_int_equal(take_many(&l, 5000, now, 40) + take_many(&l, 5001, now, 40), AUDIT_LIMIT_REFUSALS);
	assert_true(audit_limit_over(&l, now, true, &uid, &n));
	assert_int_equal(uid, 1000);
	assert_true(audit_limit_over(&l, now, true, &uid, &n));
	assert_true(uid == AUDIT_LIMIT_SEVERAL);
	assert_int_equal(n, 80 - AUDIT_LIMIT_REFUSALS);
	/* Who was refused a little gives its place away. */
	assert_int_equal(take_many(&l, 6000, now + AUDIT_LIMIT_US, 60), AUDIT_LIMIT_REFUSALS);
	assert_true(audit_limit_over(&l, now, true, &uid, &n));
	assert_int_equal(uid, 6000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_without_a_file, init, stop),
		cmocka_unit_test_setup_teardown(test_rules, init, stop),
		cmocka_unit_test_setup_teardown(test_adopting_is_unsigned, init, stop),
		cmocka_unit_test_setup_teardown(test_uuid, init, stop),
		cmocka_unit_test_setup_teardown(test_reload, init, stop),
		cmocka_unit_test_setup_teardown(test_reload_without, init, stop),
		cmocka_unit_test_setup_teardown(test_author, init, stop),
		cmocka_unit_test_setup_teardown(test_author_unknown, init, stop),
		cmocka_unit_test(test_author_groups),
		cmocka_unit_test_setup_teardown(test_bad_start, init, stop),
		cmocka_unit_test_setup_teardown(test_no_audit_no_deed, init, stop),
		cmocka_unit_test_setup_teardown(test_flood, init, stop),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
