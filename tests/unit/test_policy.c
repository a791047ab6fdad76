// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration file and what its rules allow: who, what, which VMs, unsigned or not, which overrides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "protocol/util.h"
#include "vmm/control/config_parse.h"
#include "vmm/control/peer.h"

static const char example[] =
	"# who may do what\n"
	"[vmpoked]\n"
	"state-dir = /srv/vmpoke\n"
	"client-timeout = 7\n"
	"log-level = debug\n"
	"read-only-socket-mode = 0660\n"
	"[policy]\n"
	"unsigned = refuse\n"
	"[allow operators]\n"
	"users = root, 1000\n"
	"groups = 2000\n"
	"may = monitor check apply\n"
	" revert\n" /* a list goes on */
	"vms = web* db1\n"
	"overrides = mode\n"
	"[allow watchers]\n"
	"users = *\n"
	"may = monitor\n"
	"[allow builders]\n"
	"users = 1001\n"
	"may = *\n"
	"unsigned = allow\n"
	"overrides = *\n";

static struct config *parse(const char *text)
{
	struct config *c = config_new();
	struct err e = { 0 };

	if (config_parse(c, text, "x.conf", &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

static void test_values(void **state)
{
	struct config *c = parse(example);

	(void)state;
	assert_string_equal(c->state_dir, "/srv/vmpoke");
	assert_string_equal(c->runtime_dir, "");
	assert_int_equal(c->client_stall_us, 7000000);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->read_only_mode, 0660);
	assert_int_equal(c->policy.n_rules, 3);
	assert_false(c->policy.unsigned_ok);
	const struct policy_rule *r = &c->policy.rules[0];
	assert_string_equal(r->name, "operators");
	assert_int_equal(r->n_uids, 2);
	assert_int_equal(r->uids[0], 0);
	assert_int_equal(r->uids[1], 1000);
	assert_int_equal(r->n_gids, 1);
	assert_int_equal(r->classes, 1u << SCHEMA_CLASS_MONITOR | 1u << SCHEMA_CLASS_CHECK | 1u << SCHEMA_CLASS_APPLY |
					     1u << SCHEMA_CLASS_REVERT);
	assert_int_equal(r->n_vms, 2);
	assert_string_equal(c->policy.rules[1].vms[0], "*");
	config_free(c);
}

/* Each mistake is told with its line, and none is passed over. */
static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{ "a = b\n", "x.conf:1: a key before the first section" },
		{ "[vmpoked]\nstat-dir = /x\n", "x.conf:2: unknown key 'stat-dir' in [vmpoked]" },
		{ "[vmpoked]\nstate-dir = x\n", "x.conf:2: 'state-dir' must be an absolute path" },
		{ "[vmpoked]\nlog-level = loud\n", "x.conf:2: unknown log level 'loud'" },
		{ "[vmpoked]\nclient-timeout = 0\n", "x.conf:2: 'client-timeout' must be" },
		{ "[vmpoked]\nread-only-socket-mode = 0777\n", "x.conf:2: 'read-only-socket-mode' must be" },
		{ "[vmpoke]\na = b\n", "x.conf:1: unknown section [vmpoke]" },
		{ "[policy]\nunsigned = maybe\n", "x.conf:2: 'unsigned' must be allow or refuse" },
		{ "[policy]\nsigned = yes\n", "x.conf:2: unknown key 'signed' in [policy]" },
		{ "\n[policy\nunsigned = allow\n", "x.conf:2: neither a section, nor KEY = VALUE" },
		{ "[policy]\nunsigned\n", "x.conf:2: neither a section, nor KEY = VALUE" },
		{ "[allow a]\nmay = monitor\n", "x.conf:1: [allow a] names neither users nor groups" },
		{ "[allow a]\nusers = *\n", "x.conf:1: [allow a] does not say what they may" },
		{ "[allow a]\nusers = no-such-user\nmay = *\n", "x.conf:2: no user 'no-such-user'" },
		{ "[allow a]\ngroups = no-such-group\nmay = *\n", "x.conf:2: no group 'no-such-group'" },
		{ "[allow a]\nusers = *\nmay = everything\n", "x.conf:3: unknown class 'everything'" },
		{ "[allow a]\nusers = *\nmay = session\n", "x.conf:3: unknown class 'session'" },
		{ "[allow a]\nusers =\nmay = *\n", "x.conf:2: 'users' is empty" },
		{ "[allow a]\nusers = *\nmay = *\nvms = a/b\n", "x.conf:4: 'a/b' is neither" },
		{ "[allow a]\nusers = *\nmay = *\noverrides = force\n", "x.conf:4: unknown override 'force'" },
		{ "[allow a]\nuser = *\n", "x.conf:2: unknown key 'user' in [allow a]" },
		{ "[allow]\nusers = *\n", "x.conf:1: unknown section [allow]" },
		{ "[allow a b]\nusers = *\n", "x.conf:1: an [allow] section needs a name" },
		{ "[allow a]\nusers = *\nmay = *\n[allow b]\n[policy]\nunsigned = allow\n", "x.conf:4: the section is empty" },
		{ "[allow a]\n", "x.conf:1: the section is empty" },
		{ "[allow a]\nusers = *\nmay = *\n[allow a]\nusers = *\nmay = *\n", "x.conf:4: there is an [allow a] already" },
		{ "[allow a]\nusers = 4294967295\nmay = *\n", "x.conf:2: no user '4294967295'" },
	};
	char text[1024];
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = config_new();

		assert_int_equal(config_parse(c, cases[i].text, "x.conf", &e), -EINVAL);
		if (strncmp(e.text, cases[i].sentence, strlen(cases[i].sentence)) != 0)
			fail_msg("%s\nsays: %s\nnot:  %s", cases[i].text, e.text, cases[i].sentence);
		assert_int_equal(e.kind, ERR_USAGE);
		config_free(c);
	}
	/* What inih would cut without a word. */
	struct config *c = config_new();
	snprintf(text, sizeof(text), "[allow a]\nusers = *\nmay = *\nvms = %0250d\n", 1);
	assert_int_equal(config_parse(c, text, "x.conf", &e), -EINVAL);
	assert_non_null(strstr(e.text, "x.conf:4: longer than"));
	config_free(c);
	c = config_new();
	snprintf(text, sizeof(text), "[allow %060d]\nusers = *\n", 1);
	assert_int_equal(config_parse(c, text, "x.conf", &e), -EINVAL);
	assert_non_null(strstr(e.text, "x.conf:1: the name of the section"));
	config_free(c);
}

static const char *decide(const struct policy *p, uid_t uid, gid_t gid, enum schema_class class, const char *vm,
			  unsigned overrides, bool has_patch, bool is_signed)
{
	static struct err e;
	struct peer peer = { .uid = uid, .gid = 1, .n_groups = 1, .groups = &gid };
	struct policy_request r = {
		.peer = &peer, .class = class, .vm = vm, .overrides = overrides, .has_patch = has_patch, .is_signed = is_signed,
	};
	const char *rule = NULL;

	e = (struct err){ 0 };
	int error = policy_decide(p, &r, &rule, &e);
	assert_int_equal(error, error ? -EACCES : 0);
	assert_true(error == 0 || (e.kind == ERR_REFUSED && e.text[0]));
	return error ? e.rule : rule;
}

static void test_decisions(void **state)
{
	struct config *c = parse(example);
	const struct policy *p = &c->policy;

	(void)state;
	assert_string_equal(decide(p, 1000, 5, SCHEMA_CLASS_APPLY, "web1", 0, true, true), "operators");
	assert_string_equal(decide(p, 5, 2000, SCHEMA_CLASS_REVERT, "db1", 0, false, false), "operators"); /* by a supplementary group */
	assert_string_equal(decide(p, 5, 2001, SCHEMA_CLASS_REVERT, "db1", 0, false, false), "policy");
	assert_string_equal(decide(p, 1000, 5, SCHEMA_CLASS_APPLY, "db2", 0, true, true), "policy");
	assert_string_equal(decide(p, 1000, 5, SCHEMA_CLASS_MANAGE, "web1", 0, false, false), "policy");
	assert_string_equal(decide(p, 1000, 5, SCHEMA_CLASS_APPLY, "web1", 0, true, false), "unsigned");
	assert_string_equal(decide(p, 1000, 5, SCHEMA_CLASS_APPLY, "web1", POLICY_OVERRIDE_MODE, true, true), "operators");
	assert_string_equal(decide(p, 1000, 5, SCHEMA_CLASS_APPLY, "web1", POLICY_OVERRIDE_ATOMIC, true, true), "override");
	assert_string_equal(decide(p, 77, 5, SCHEMA_CLASS_MONITOR, "db2", 0, false, false), "watchers");
	assert_string_equal(decide(p, 77, 5, SCHEMA_CLASS_CHECK, "db2", 0, false, false), "policy");
	assert_string_equal(decide(p, 1001, 5, SCHEMA_CLASS_KEYS, NULL, 0, false, false), "builders");
	assert_string_equal(decide(p, 1001, 5, SCHEMA_CLASS_APPLY, "x", POLICY_OVERRIDE_ALL, true, false), "builders");
	/* Root is no exception: it can edit the file. */
	assert_string_equal(decide(p, 0, 0, SCHEMA_CLASS_MANAGE, "web1", 0, false, false), "policy");
	config_free(c);
}

static void test_default(void **state)
{
	struct config *c = config_new();

	(void)state;
	assert_string_equal(decide(&c->policy, 77, 5, SCHEMA_CLASS_APPLY, "x", POLICY_OVERRIDE_ALL, true, false), "default");
	assert_int_equal(config_parse(c, "[policy]\nunsigned = refuse\n", "x", NULL), 0);
	assert_string_equal(decide(&c->policy, 77, 5, SCHEMA_CLASS_APPLY, "x", 0, true, false), "unsigned");
	assert_string_equal(decide(&c->policy, 77, 5, SCHEMA_CLASS_APPLY, "x", 0, true, true), "default");
	assert_string_equal(decide(&c->policy, 77, 5, SCHEMA_CLASS_REVERT, "x", 0, false, false), "default");
	config_free(c);
}

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *other;
		bool covers;
	} cases[] = {
		{ "*", "*", true },	  { "*", "web*", true },   { "web*", "web*", true }, { "web*", "web1*", true },
		{ "web*", "w*", false },  { "web*", "*", false },  { "web?", "web*", false }, { "web?", "web?", true },
		{ "web*", "web[12]", true }, { "web*", "web1", true }, { "web1", "web1", true }, { "web1", "web*", false },
		{ "w?b*", "web*", false }, { "a", "b", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (policy_pattern_covers(cases[i].pattern, cases[i].other) != cases[i].covers)
			fail_msg("%s covers %s: %d", cases[i].pattern, cases[i].other, !cases[i].covers);
}

/* What the table of commands calls an override has a name in the policy. */
static void test_overrides_of_the_schema(void **state)
{
	size_t n, found = 0;
	const struct schema_command *c = schema_commands(&n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (const struct schema_arg *a = c[i].args; a->name; a++) {
			assert_true(!a->override || policy_override_from_name(a->name));
			found += a->override;
		}
	assert_true(found >= 4);
	for (unsigned bit = 1; bit < POLICY_OVERRIDE_ALL; bit <<= 1)
		assert_int_equal(policy_override_from_name(policy_override_name(bit)), bit);
}

static void put(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* The group of vmpoked's clients must not be able to, either. Whose group a file has only root can choose. */
static void test_group_writable(const char *folder, const char *config)
{
	struct config *c = NULL;
	char path[300];
	struct err e;

	snprintf(path, sizeof(path), "%s/10-a.conf", folder);
	assert_int_equal(chmod(path, 0664), 0);
	if (geteuid() != 0 || chown(path, 0, 54323) < 0)
		return;
	assert_int_equal(config_load(config, true, &c, &e), -EPERM);
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(config_load(config, true, &c, &e), 0);
	config_free(c);
}

/* What a crash makes of a file is no empty policy. */
static void test_zeros(const char *dir, const char *config)
{
	struct config *c = NULL;
	struct err e;
	int fd;

	put(dir, "vmpoked.conf", "", 0644);
	assert_int_equal(config_load(config, true, &c, &e), 0);
	config_free(c);
	fd = open(config, O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 100), 0);
	close(fd);
	assert_int_equal(config_load(config, true, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "NUL bytes"));
}

static void test_files(void **state)
{
	char dir[] = "/tmp/vmpoke-policy.XXXXXX", path[256], folder[256];
	struct config *c = NULL;
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/vmpoked.conf", dir);
	snprintf(folder, sizeof(folder), "%s.d", path);
	assert_int_equal(config_load(path, true, &c, &e), -ENOENT);
	assert_int_equal(config_load(path, false, &c, &e), 0);
	assert_int_equal(c->policy.n_rules, 0);
	config_free(c);
	put(dir, "vmpoked.conf", "[vmpoked]\nclient-timeout = 5\n[allow a]\nusers = *\nmay = *\n", 0644);
	assert_int_equal(mkdir(folder, 0755), 0);
	put(folder, "20-b.conf", "[vmpoked]\nclient-timeout = 9\n", 0644);
	put(folder, "10-a.conf", "[vmpoked]\nclient-timeout = 8\n[allow b]\nusers = *\nmay = *\n", 0644);
	put(folder, "30-c.conf~", "nonsense", 0644);
	assert_int_equal(config_load(path, true, &c, &e), 0);
	assert_int_equal(c->client_stall_us, 9000000);
	assert_int_equal(c->policy.n_rules, 2);
	config_free(c);
	put(folder, "10-a.conf", "[allow a]\nusers = *\nmay = *\n", 0644);
	assert_int_equal(config_load(path, true, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "10-a.conf:1: there is an [allow a] already"));
	put(folder, "10-a.conf", "", 0666);
	assert_int_equal(config_load(path, true, &c, &e), -EPERM); /* everybody could give himself rights */
	test_group_writable(folder, path);
	put(folder, "10-a.conf", "", 0644);
	test_zeros(dir, path);
	put(folder, "10-a.conf", "", 0644);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	assert_int_equal(system(path), 0);
}

/* What is not said any more does not allow by that. */
static void test_reload(void **state)
{
	static const struct {
		const char *old, *new;
		bool ok;
	} cases[] = {
		{ "", "[allow a]\nusers = *\nmay = *\n", true },
		{ "[allow a]\nusers = *\nmay = *\n", "", false },
		{ "[allow a]\nusers = 1\nmay = monitor\n", "[allow b]\nusers = *\nmay = *\n", true },
		{ "[policy]\nunsigned = refuse\n", "[vmpoked]\nlog-level = info\n", false },
		{ "[policy]\nunsigned = refuse\n", "[policy]\nunsigned = allow\n", true },
		{ "[policy]\nunsigned = allow\n", "", true },
	};
	char dir[] = "/tmp/vmpoke-policy-XXXXXX", path[64];
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *old = parse(cases[i].old), *new = parse(cases[i].new);

		if ((config_may_replace(old, new, &e) == 0) != cases[i].ok)
			fail_msg("case %zu", i);
		config_free(old);
		config_free(new);
	}
	/* The file at the default place need not be there, but does not go while it is in force. */
	struct config *none = NULL, *empty = NULL;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.conf", dir);
	assert_int_equal(config_load(path, false, &none, &e), 0);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(config_load(path, false, &empty, &e), 0);
	assert_int_equal(config_may_replace(none, empty, &e), 0);
	assert_int_equal(config_may_replace(empty, none, &e), -EPERM);
	assert_string_equal(e.rule, "config");
	config_free(none);
	config_free(empty);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	  cmocka_unit_test(test_mistakes), cmocka_unit_test(test_decisions),
		cmocka_unit_test(test_default),	  cmocka_unit_test(test_patterns), cmocka_unit_test(test_overrides_of_the_schema),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
