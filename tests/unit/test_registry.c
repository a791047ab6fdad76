// SPDX-License-Identifier: GPL-2.0-or-later
/* The registry of VMs: what is written comes back, what is broken is skipped, nothing is half there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/util.h"
#include "vmm/control/registry.h"

struct fixture {
	char dir[64];
	int fd;
};

struct counter {
	struct registry_report report;
	int broken;
	char last[256];
	char why[512];
};

static void on_broken(struct registry_report *report, const char *file, const struct err *e)
{
	struct counter *c = container_of(report, struct counter, report);

	c->broken++;
	snprintf(c->last, sizeof(c->last), "%s", file);
	snprintf(c->why, sizeof(c->why), "%s", e->text);
}

static int setup(void **state)
{
	static struct fixture f;
	struct err e;

	strcpy(f.dir, "/tmp/vmpoke-registry.XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	assert_int_equal(registry_open(f.dir, &f.fd, &e), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	close(f->fd);
	snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	return system(command);
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static struct registry_entry *load(const struct fixture *f, struct counter *c, size_t *ret_n)
{
	struct registry_entry *list = (void *)1;
	struct err e;

	*c = (struct counter){ .report.broken = on_broken };
	assert_int_equal(registry_load(f->fd, &c->report, &list, ret_n, &e), 0);
	return list;
}

static void test_entry_rules(void **state)
{
	static const struct {
		const char *name, *qmp, *gdb;
		int result;
	} rows[] = {
		{ "web1", "/run/q", NULL, 0 },
		{ "web1", "/run/q", "/run/g", 0 },
		{ "", "/run/q", NULL, -EINVAL },
		{ ".hidden", "/run/q", NULL, -EINVAL },
		{ "../etc", "/run/q", NULL, -EINVAL },
		{ "a/b", "/run/q", NULL, -EINVAL },
		{ "web1", "run/q", NULL, -EINVAL },
		{ "web1", "", NULL, -EINVAL },
		{ "web1", "/run/q\n", NULL, -EINVAL },
		{ "web1", "/run/q", "g", -EINVAL },
		{ "web1", "/2345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
		  NULL, 0 },
		{ "web1", "/23456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678",
		  NULL, -ENAMETOOLONG },
	};
	struct registry_entry entry;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = registry_entry_init(&entry, rows[i].name, rows[i].qmp, rows[i].gdb, &e);
		if (r != rows[i].result)
			fail_msg("row %zu: %d instead of %d", i, r, rows[i].result);
		if (r < 0)
			assert_int_equal(e.kind, ERR_USAGE);
	}
}

static void test_machines(void **state)
{
	static const struct {
		const char *file, *text, *why;
	} bad[] = {
		{ "a.json", "{\"name\": \"a\", \"kind\": \"machine\"}", "kernel" },
		{ "b.json", "{\"name\": \"b\", \"kind\": \"qemu\", \"kernel\": \"\", \"vcpus\": 1, \"memory\": 1}", "not the description" },
		{ "c.json", "{\"name\": \"c\", \"kind\": \"machine\", \"kernel\": \"\", \"vcpus\": 0, \"memory\": 1}", "not the description" },
		{ "d.json", "{\"name\": \"d\", \"kind\": \"machine\", \"kernel\": \"\", \"vcpus\": 1, \"memory\": -1}", "not the description" },
		{ "e.json", "{\"name\": \"e\", \"kind\": \"machine\", \"kernel\": \"\", \"vcpus\": 1, \"memory\": 1, \"x\": 1}", "" },
		{ "f.json", "{\"name\": \"g\", \"kind\": \"machine\", \"kernel\": \"\", \"vcpus\": 1, \"memory\": 1}", "does not match" },
		{ "h.json", "{\"name\": \"h\", \"kind\": 7, \"kernel\": \"\", \"vcpus\": 1, \"memory\": 1}", "" },
	};
	struct fixture *f = *state;
	struct registry_entry entry, *list;
	struct counter c;
	struct err e;
	size_t n;

	assert_int_equal(registry_machine_init(&entry, "../x", "/k", 1, 4096, &e), -EINVAL);
	assert_int_equal(registry_machine_init(&entry, "m", "/boot/\033[31m\xc3\xbc", 64, 1ull << 40, &e), 0);
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	list = load(f, &c, &n);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].kind, REGISTRY_MACHINE);
	assert_string_equal(list[0].kernel, "/boot/?[31m??");
	assert_int_equal(list[0].vcpus, 64);
	assert_int_equal(list[0].memory, 1ull << 40);
	assert_string_equal(list[0].ended, "");
	free(list);
	registry_machine_end(&entry, "exit 0");
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	list = load(f, &c, &n);
	assert_string_equal(list[0].ended, "exit 0");
	free(list);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_file(f, bad[i].file, bad[i].text);
		list = load(f, &c, &n);
		assert_int_equal(n, 1);
		assert_int_equal(c.broken, 1);
		assert_string_equal(c.last, bad[i].file);
		assert_non_null(strstr(c.why, bad[i].why));
		free(list);
		unlinkat(f->fd, bad[i].file, 0);
	}
}

static void test_owner(void **state)
{
	static const char *const bad[] = { "", "4dea22b3-1d52-d8f3-2516-782e98ab3fa", "4dea22b3-1d52-d8f3-2516-782e98ab3fa00",
					   "4dea22b31d52-d8f3-2516-782e98ab3fa00-", "4dea22b3-1d52-d8f3-2516-782e98ab3fag" };
	struct fixture *f = *state;
	struct registry_entry entry, *list;
	struct counter c;
	struct err e;
	size_t n;

	assert_int_equal(registry_entry_init(&entry, "web1", "/q", NULL, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(registry_entry_set_owner(&entry, bad[i], NULL, &e), -EINVAL);
	assert_int_equal(registry_entry_set_owner(&entry, NULL, "", &e), -EINVAL);
	assert_int_equal(registry_entry_set_owner(&entry, NULL, "a b", &e), -EINVAL);
	assert_int_equal(registry_entry_set_owner(&entry, NULL, "a\033b", &e), -EINVAL);
	assert_string_equal(entry.uuid, "");
	assert_string_equal(entry.origin, "");
	assert_int_equal(registry_entry_set_owner(&entry, "4DEA22B3-1d52-d8f3-2516-782e98ab3fa0", "libvirt:qemu:///system", &e), 0);
	entry.has_user = true;
	entry.user = 54321;
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	list = load(f, &c, &n);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].uuid, "4dea22b3-1d52-d8f3-2516-782e98ab3fa0");
	assert_string_equal(list[0].origin, "libvirt:qemu:///system");
	assert_true(list[0].has_user && list[0].user == 54321);
	free(list);
	entry.user = (uid_t)-1; /* of nobody: such a file is not taken for one of root's */
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	free(load(f, &c, &n));
	assert_int_equal(n, 0);
}

static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	struct registry_entry entry, *list;
	struct counter c;
	struct err e;
	struct stat st;
	size_t n;

	list = load(f, &c, &n);
	assert_null(list);
	assert_int_equal(n, 0);
	assert_int_equal(registry_entry_init(&entry, "zeta", "/run/z \"quoted\"", NULL, &e), 0);
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	assert_int_equal(registry_entry_init(&entry, "alpha", "/run/a", "/run/a.gdb", &e), 0);
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	assert_int_equal(registry_save(f->fd, &entry, &e), 0); /* again: replaces */
	list = load(f, &c, &n);
	assert_int_equal(n, 2);
	assert_int_equal(c.broken, 0);
	assert_string_equal(list[0].name, "alpha");
	assert_string_equal(list[0].gdb, "/run/a.gdb");
	assert_string_equal(list[1].name, "zeta");
	assert_string_equal(list[1].qmp, "/run/z \"quoted\"");
	assert_string_equal(list[1].gdb, "");
	free(list);
	assert_int_equal(fstatat(f->fd, "alpha.json", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fstatat(f->fd, ".alpha.tmp", &st, 0), -1);
}

static void test_agent(void **state)
{
	static const char *const bad[] = { "\"tcp:1\"", "\"unix:relative\"", "7", "\"\"" };
	struct fixture *f = *state;
	struct registry_entry entry, *list;
	char text[128];
	struct counter c;
	struct err e;
	size_t n;

	assert_int_equal(registry_entry_init(&entry, "web1", "/run/q", NULL, &e), 0);
	assert_int_equal(registry_entry_set_agent(&entry, NULL, &e), 0);
	assert_string_equal(entry.agent, "");
	assert_int_equal(registry_entry_set_agent(&entry, "vsock:2", &e), -EINVAL);
	assert_string_equal(entry.agent, "");
	assert_int_equal(registry_entry_set_agent(&entry, "xdp:tap0,52:54:00:12:34:56", &e), 0);
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	list = load(f, &c, &n);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].agent, "xdp:tap0,52:54:00:12:34:56");
	free(list);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "{\"name\": \"a\", \"qmp\": \"/q\", \"agent\": %s}", bad[i]);
		write_file(f, "a.json", text);
		list = load(f, &c, &n);
		assert_int_equal(n, 1);
		assert_int_equal(c.broken, 1);
		free(list);
	}
}

static void test_remove(void **state)
{
	struct fixture *f = *state;
	struct registry_entry entry;
	struct counter c;
	struct err e;
	size_t n;

	assert_int_equal(registry_entry_init(&entry, "alpha", "/run/a", NULL, &e), 0);
	assert_int_equal(registry_save(f->fd, &entry, &e), 0);
	assert_int_equal(registry_remove(f->fd, "alpha", &e), 0);
	assert_int_equal(registry_remove(f->fd, "alpha", &e), 0); /* not there: fine */
	assert_null(load(f, &c, &n));
}

static void test_broken_files_are_skipped(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "line 1" },
		{ "{", "line" },
		{ "[]", "xpected object" },
		{ "{\"name\": \"bad\"}", "qmp" },
		{ "{\"name\": \"bad\", \"qmp\": 7}", "xpected string" },
		{ "{\"name\": \"other\", \"qmp\": \"/q\"}", "does not match" },
		{ "{\"name\": \"ba\", \"qmp\": \"/q\"}", "does not match" },
		{ "{\"name\": \"bad\", \"qmp\": \"q\"}", "absolute" },
		{ "{\"name\": \"bad\", \"qmp\": \"/q\", \"gbd\": \"/g\"}", "unpacked" },
		{ "{\"name\": \"bad\", \"qmp\": \"/q\", \"qmp\": \"/r\"}", "duplicate" },
		{ "{\"name\": \"bad\", \"qmp\": \"/q\"} x", "end of file" },
	};
	struct fixture *f = *state;
	struct counter c;
	size_t n;

	write_file(f, "good.json", "{\"name\": \"good\", \"qmp\": \"/q\"}");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		write_file(f, "bad.json", rows[i].text);
		struct registry_entry *list = load(f, &c, &n);
		if (n != 1 || c.broken != 1 || !strstr(c.why, rows[i].why))
			fail_msg("row %zu: n %zu, broken %d, why '%s'", i, n, c.broken, c.why);
		assert_string_equal(c.last, "bad.json");
		assert_string_equal(list[0].name, "good");
		free(list);
	}
}

static void test_odd_files(void **state)
{
	struct fixture *f = *state;
	char big[8192];
	struct counter c;
	size_t n;

	memset(big, ' ', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	write_file(f, "big.json", big);
	write_file(f, ".left.tmp", "{"); /* what a crash left: silently ignored */
	write_file(f, "README", "hello");
	assert_int_equal(mkdirat(f->fd, "folder.json", 0700), 0);
	assert_int_equal(mkfifoat(f->fd, "fifo.json", 0600), 0); /* must not hang */
	assert_int_equal(symlinkat("/etc/passwd", f->fd, "link.json"), 0);
	assert_null(load(f, &c, &n));
	assert_int_equal(n, 0);
	assert_int_equal(c.broken, 4);
}

static void test_unwritable(void **state)
{
	struct fixture *f = *state;
	struct registry_entry entry;
	struct err e;

	assert_int_equal(registry_entry_init(&entry, "alpha", "/run/a", NULL, &e), 0);
	assert_int_equal(mkdirat(f->fd, "alpha.json", 0700), 0); /* rename() cannot replace it */
	assert_true(registry_save(f->fd, &entry, &e) < 0);
	assert_non_null(strstr(e.text, "vms/alpha.json"));
	assert_int_equal(faccessat(f->fd, ".alpha.tmp", F_OK, 0), -1); /* and nothing is left over */
	assert_true(registry_open("/dev/null", &f->fd, &e) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_rules),
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_machines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_files_are_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unwritable, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
