// SPDX-License-Identifier: GPL-2.0-or-later
/* What vmpoke-libvirt reads of strangers: domains' XML, records in their metadata, monitor requests, the hook's messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/libvirt/domain_xml.h"
#include "vmm/libvirt/hook.h"
#include "vmm/libvirt/passage.h"
#include "vmm/libvirt/travel.h"

#define UUID "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
#define NS " xmlns:qemu='" DOMAIN_QEMU_NS "'"
#define ARG(v) "<qemu:arg value='" v "'/>"
#define CHANNEL(path) "<channel type='unix'><source mode='bind' path='" path "'/><target type='virtio' name='org.vmpoke.agent.0'/></channel>"
#define DOMAIN(inside) "<domain type='kvm'" NS "><name>a</name><uuid>" UUID "</uuid>" inside "</domain>"

static void test_domain(void **state)
{
	static const struct {
		const char *xml;
		int result;
		const char *agent, *qmp, *gdb;
	} rows[] = {
		{ DOMAIN(""), 0, "", "", "" },
		{ "<domain><uuid> 4DEA22B3-1D52-D8F3-2516-782E98AB3FA0\n</uuid></domain>", 0, "", "", "" },
		{ DOMAIN("<devices>" CHANNEL("/run/a") "</devices>"), 0, "/run/a", "", "" },
		{ DOMAIN("<devices><channel type='unix'><source path='/x'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
			 CHANNEL("/run/a") "</devices>"), 0, "/run/a", "", "" },
		{ DOMAIN("<devices>" CHANNEL("run/a") "</devices>"), 0, "", "", "" },
		{ DOMAIN("<devices>" CHANNEL("/run/&#10;a") "</devices>"), 0, "", "", "" },
		{ DOMAIN("<devices><channel type='pty'><source path='/dev/pts/1'/><target name='org.vmpoke.agent.0'/></channel></devices>"),
		  0, "", "", "" },
		/* Sockets count by their name, and only where QEMU listens on them. */
		{ DOMAIN("<qemu:commandline>" ARG("-qmp") ARG("unix:/run/vmpoke-a.qmp,server=on,wait=off") ARG("-gdb")
			 ARG("unix:/run/vmpoke-a.gdb,server=on,wait=off") "</qemu:commandline>"), 0, "", "/run/vmpoke-a.qmp", "/run/vmpoke-a.gdb" },
		{ DOMAIN("<qemu:commandline>" ARG("-qmp") ARG("unix:/run/mine.qmp,server=on") ARG("-qmp")
			 ARG("unix:/run/vmpoke.qmp,server=on") "</qemu:commandline>"), 0, "", "/run/vmpoke.qmp", "" },
		{ DOMAIN("<qemu:commandline>" ARG("-qmp") ARG("unix:/run/vmpoke/a,server=on") ARG("-qmp") ARG("tcp::1234,server=on") ARG("-qmp")
			 ARG("unix:/run/vmpoke") ARG("-qmp") "</qemu:commandline>"), 0, "", "", "" },
		{ DOMAIN("<commandline><arg value='-qmp'/><arg value='unix:/run/vmpoke,server=on'/></commandline>"), 0, "", "", "" },
		/* Not a domain, not XML, more than XML. */
		{ "<network><uuid>" UUID "</uuid></network>", -EBADMSG, NULL, NULL, NULL },
		{ "<domain><uuid>4dea22b3</uuid></domain>", -EBADMSG, NULL, NULL, NULL },
		{ "<domain><uuid>" UUID "0</uuid></domain>", -EBADMSG, NULL, NULL, NULL },
		{ "<domain/>", -EBADMSG, NULL, NULL, NULL },
		{ "<domain>", -EBADMSG, NULL, NULL, NULL },
		{ "", -EBADMSG, NULL, NULL, NULL },
		{ "<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><uuid>" UUID "</uuid></domain>", -EBADMSG, NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct domain_facts f;
		struct err e;

		assert_int_equal(domain_xml_read(rows[i].xml, &f, &e), rows[i].result);
		if (rows[i].result < 0)
			continue;
		assert_string_equal(f.uuid, UUID);
		assert_string_equal(f.agent, rows[i].agent);
		assert_string_equal(f.qmp, rows[i].qmp);
		assert_string_equal(f.gdb, rows[i].gdb);
	}
}

static void test_long_xml(void **state)
{
	size_t len = (5u << 20);
	char *xml = malloc(len + 1);
	struct domain_facts f;
	struct err e;

	(void)state;
	memset(xml, ' ', len);
	memcpy(xml, "<domain>", 8);
	xml[len] = '\0';
	assert_int_equal(domain_xml_read(xml, &f, &e), -EMSGSIZE);
	free(xml);
}

/* What was added is found again, nothing is added twice, and the rest is as it was. */
static void test_setup(void **state)
{
	_cleanup_free_ char *once = NULL, *twice = NULL, *none = NULL;
	struct domain_facts f;
	struct err e;

	(void)state;
	assert_int_equal(domain_xml_add(DOMAIN("<devices><emulator>/q</emulator></devices><metadata><x:a xmlns:x='y'>1</x:a></metadata>"), NULL,
					&once, &e), 1);
	assert_non_null(strstr(once, "<emulator>/q</emulator>"));
	assert_non_null(strstr(once, "<x:a xmlns:x=\"y\">1</x:a>"));
	assert_int_equal(domain_xml_read(once, &f, &e), 0);
	assert_true(f.has_channel);
	assert_int_equal(domain_xml_add(once, NULL, &none, &e), 0);
	assert_null(none);
	assert_int_equal(domain_xml_add(once, "/run/vmpoke-a.qmp", &twice, &e), 1);
	assert_int_equal(domain_xml_read(twice, &f, &e), 0);
	assert_string_equal(f.qmp, "/run/vmpoke-a.qmp");
	assert_string_equal(f.gdb, "/run/vmpoke-a.gdb");
	assert_int_equal(domain_xml_add(twice, "/run/vmpoke-b.qmp", &none, &e), 0);
	assert_int_equal(domain_xml_add(DOMAIN(""), NULL, &none, &e), -EBADMSG); /* no devices */
}

static void test_setup_monitor(void **state)
{
	static const char *const bad[] = { "", "vmpoke", "/run/other.qmp", "/run/vmpoke,server", "/run/vmpoke'/><x", "/run/vmpoke/a" };
	_cleanup_free_ char *plain = domain_xml_snippet(NULL), *both = domain_xml_snippet("/run/vmpoke-a");
	_cleanup_free_ char *out = NULL;
	struct err e;

	(void)state;
	assert_non_null(strstr(plain, "org.vmpoke.agent.0"));
	assert_null(strstr(plain, "qemu"));
	assert_non_null(strstr(both, "'unix:/run/vmpoke-a.gdb,server=on,wait=off'"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(domain_xml_add(DOMAIN("<devices/>"), bad[i], &out, &e), -EINVAL);
}

static void test_travel(void **state)
{
	json_t *records = json_pack("[{s:s, s:s}]", "patch", "a", "text", "<&>\"' \xc3\xbc\n]]>"), *back = NULL;
	_cleanup_free_ char *xml = NULL;
	struct err e;

	(void)state;
	assert_int_equal(travel_format(records, &xml, &e), 0);
	assert_int_equal(travel_parse(xml, &back, &e), 0);
	assert_true(json_equal(records, back));
	json_decref(back);
	json_decref(records);
	assert_int_equal(travel_parse("<patches xmlns='" TRAVEL_NS "'>[{\"patch\": \"a\"}]</patches>", &back, &e), 0);
	json_decref(back);
}

static void test_travel_limits(void **state)
{
	static const char *const bad[] = { "<patches>", "<patches/>", "<patches>{}</patches>", "<patches>[1]</patches>", "<other>[]</other>",
					   "<patches>[{\"a\": 1, \"a\": 2}]</patches>", "<patches>[{}] x</patches>" };
	json_t *records = json_array(), *back = NULL;
	char *xml = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(travel_parse(bad[i], &back, &e), -EBADMSG);
	for (size_t i = 0; i <= TRAVEL_RECORDS_MAX; i++)
		json_array_append_new(records, json_object());
	assert_int_equal(travel_format(records, &xml, &e), -EMSGSIZE);
	json_array_clear(records);
	for (size_t i = 0; i < TRAVEL_SIZE_MAX / 1000 + 1; i++) {
		char text[1001];

		memset(text, 'x', 1000);
		text[1000] = '\0';
		json_array_append_new(records, json_pack("{s:s}", "text", text));
	}
	assert_int_equal(travel_format(records, &xml, &e), -EMSGSIZE);
	assert_non_null(strstr(e.text, "bytes"));
	json_array_clear(records);
	json_array_append_new(records, json_integer(1));
	assert_int_equal(travel_format(records, &xml, &e), -EINVAL);
	json_decref(records);
	assert_null(xml);
}

static int passes(const char *execute, const char *line)
{
	struct qmp_request req = { .execute = strdup(execute), .args = json_object() };
	struct err e;

	if (line)
		json_object_set_new(req.args, "command-line", json_string(line));
	int r = passage_check(&req, &e);
	qmp_request_clear(&req);
	return r;
}

/* What a worker needs passes; what would start, end, move or change a VM does not, however it is dressed up. */
static void test_passage(void **state)
{
	static const char *const lines[] = { "info jit", "info mtree -f", "info registers", "info registers -a", "gpa2hva 0x1000",
					     "xp /32xg 0x7f000" };
	static const char *const bad_lines[] = { "", "info", "info jit\nquit", "info jit; quit", "quit", "system_reset", "xp", "xp /x 0|ls",
						 "gdbserver none", "gdbserver unix:/x,server=on", "pmemsave 0 1 \"/x\"", "info mtree -f x",
						 "gpa2hva 1\t", "migrate exec:x", "infojit" };
	static const char *const bad[] = { "quit", "stop", "system_reset", "migrate", "chardev-add", "getfd", "device_add", "query-statusx", "",
					   "memsave", "human-monitor-command" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(passes("human-monitor-command", lines[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_lines); i++)
		assert_int_equal(passes("human-monitor-command", bad_lines[i]), -EPERM);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(passes(bad[i], NULL), -EPERM);
	assert_int_equal(passes("query-status", NULL), 0);
	assert_int_equal(passes("cont", NULL), 0);
}

static void expect_reply(const char *text, const char *id, const char *want)
{
	_cleanup_free_ char *line = passage_reply(text, id);

	assert_string_equal(line, want);
}

static void test_replies(void **state)
{
	(void)state;
	expect_reply("{\"return\": {\"a\": 1}, \"id\": \"libvirt-7\"}", "5", "{\"return\": {\"a\": 1}, \"id\": 5}\r\n");
	expect_reply("{\"id\": \"libvirt-7\", \"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}", "\"x\"",
		     "{\"error\": {\"class\":\"GenericError\",\"desc\":\"no\"}, \"id\": \"x\"}\r\n");
	_cleanup_free_ char *odd = passage_reply("{\"event\": \"X\"}", NULL);
	assert_non_null(strstr(odd, "makes no sense"));
	_cleanup_free_ char *event = passage_event("RESET", 7, 8, "{\"guest\": true}");
	assert_non_null(strstr(event, "\"event\":\"RESET\""));
	assert_non_null(strstr(event, "\"data\":{\"guest\":true}"));
	_cleanup_free_ char *bare = passage_event("STOP", 7, 8, NULL);
	assert_null(strstr(bare, "data"));
}

static void test_hook(void **state)
{
	static const char *const bad[] = { "", "\n", "a", "a\nstarted", "\nstarted\nbegin", "a\n\nbegin", "a\033\nstarted\n" };
	struct hook_message m;

	(void)state;
	assert_int_equal(hook_parse("a b\nstarted\nbegin", 16, &m), 0);
	assert_string_equal(m.domain, "a b");
	assert_string_equal(m.operation, "started");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(hook_parse(bad[i], strlen(bad[i]), &m), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domain),	     cmocka_unit_test(test_long_xml), cmocka_unit_test(test_setup),
		cmocka_unit_test(test_setup_monitor), cmocka_unit_test(test_travel),  cmocka_unit_test(test_travel_limits),
		cmocka_unit_test(test_passage),	     cmocka_unit_test(test_replies),  cmocka_unit_test(test_hook),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
