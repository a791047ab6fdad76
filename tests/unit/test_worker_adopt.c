// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * patch-export on one host, patch-adopt on the next, patch-replace: two state folders, one made-up guest that is the
 * same for both, as after a migration. What a record says is believed only where the guest agrees.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/fake/elf_object.h"
#include "tests/fake/image_vm.h"
#include "vmm/worker/commands.h"
#include "vmm/worker/payloads.h"
#include "vmm/worker/txlog.h"

#define PLACE (IMAGE_FUNC + 8)
#define OTHER (IMAGE_FUNC + 16)

static struct {
	char dir[2][64];
	int peer;
	struct image_vm vm;
	struct session s;
} w;

static void host_enter(int host)
{
	struct err e = { 0 };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	w.peer = pair[1];
	w.s = (struct session){ .target.vm = "web1", .target.qmp = "q", .backend_name = "none", .state_dir = w.dir[host] };
	session_init(&w.s);
	w.s.control = control_new(pair[0]);
	w.s.backend = &w.vm.base;
	assert_int_equal(journal_open(w.dir[host], "web1", 0, &w.s.journal, &e), 0);
	assert_int_equal(session_load(&w.s, &e), 0);
}

static void host_leave(void)
{
	session_clear(&w.s);
	journal_close(w.s.journal);
	control_free(w.s.control);
	close(w.peer);
}

static void move_to(int host)
{
	host_leave();
	host_enter(host);
}

static int setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	strcpy(w.dir[0], "/tmp/vmpoke-adopt-XXXXXX");
	strcpy(w.dir[1], "/tmp/vmpoke-adopt-XXXXXX");
	if (!mkdtemp(w.dir[0]) || !mkdtemp(w.dir[1]))
		return -1;
	image_vm_init(&w.vm);
	host_enter(0);
	return 0;
}

static int teardown(void **state)
{
	char command[256];

	(void)state;
	host_leave();
	snprintf(command, sizeof(command), "rm -rf %s %s", w.dir[0], w.dir[1]);
	return system(command);
}

#define TEXT(name, place, new) \
	"vmpoke: 1\nname: " name "\nsites:\n  - { at: do_nothing+" place ", kind: bytes, old: \"90\", new: \"" new "\" }\n"
static const char text_p[] = TEXT("p", "0x8", "f8");
static const char text_q[] = TEXT("q", "0x10", "f9");
static const char text_r[] = TEXT("r", "0x8", "f5");
static const char text_bad[] = TEXT("bad", "0x8", "e8");

typedef int command_fn(struct session *s, json_t *args, json_t **ret, struct err *e);

/* args are stolen. */
static json_t *run(command_fn *command, json_t *args)
{
	json_t *value = NULL;
	struct err e = { 0 };

	if (command(&w.s, args, &value, &e) < 0)
		fail_msg("%s", e.text);
	json_decref(args);
	return value;
}

static struct err run_fails(command_fn *command, json_t *args)
{
	json_t *value = NULL;
	struct err e = { 0 };

	assert_true(command(&w.s, args, &value, &e) < 0);
	assert_null(value);
	json_decref(args);
	return e;
}

static void apply(const char *text)
{
	json_decref(run(command_patch_apply, json_pack("{s:s, s:s}", "vm", "web1", "text", text)));
}

static void revert(const char *name)
{
	json_t *value = run(command_patch_revert, json_pack("{s:s, s:s}", "vm", "web1", "patch", name));

	assert_true(json_is_true(json_object_get(value, "changed")));
	json_decref(value);
}

static json_t *export(void)
{
	json_t *value = run(command_patch_export, json_pack("{s:s}", "vm", "web1"));
	json_t *records = json_deep_copy(json_object_get(value, "records"));

	json_decref(value);
	return records;
}

/* Records are borrowed. */
static json_t *adopt(json_t *records)
{
	unsigned writes = w.vm.writes;
	json_t *value = run(command_patch_adopt, json_pack("{s:s, s:O}", "vm", "web1", "records", records));

	assert_int_equal(w.vm.writes, writes);
	assert_null(w.s.overlay);
	return value;
}

static void expect(json_t *reply, size_t i, const char *state)
{
	json_t *record = json_array_get(json_object_get(reply, "records"), i);

	if (strcmp(json_string_value(json_object_get(record, "state")), state) != 0)
		fail_msg("record %zu is %s: %s", i, json_string_value(json_object_get(record, "state")),
			 json_string_value(json_object_get(record, "why")));
}

static uint8_t byte(uint64_t gva)
{
	return *guest_image_at(&w.vm.image, gva);
}

static json_t *site_of(json_t *records, size_t i)
{
	return json_array_get(json_object_get(json_array_get(records, i), "sites"), 0);
}

static void test_moved_and_reverted(void **state)
{
	(void)state;
	apply(text_p);
	apply(text_q);
	json_t *records = export();
	assert_int_equal(json_array_size(records), 2);
	move_to(1);
	json_t *none = export();
	assert_int_equal(json_array_size(none), 0);
	json_decref(none);
	json_t *reply = adopt(records);
	assert_true(json_is_true(json_object_get(reply, "changed")));
	expect(reply, 0, "adopted");
	expect(reply, 1, "adopted");
	json_decref(reply);
	reply = adopt(records);
	assert_true(json_is_false(json_object_get(reply, "changed")));
	expect(reply, 0, "already");
	json_decref(reply);
	move_to(1); /* the journal tells it as well */
	assert_int_equal(patch_list_count(&w.s.patches, PATCH_APPLIED), 2);
	reply = run(command_patch_verify, json_pack("{s:s}", "vm", "web1"));
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_int_equal(json_integer_value(json_object_get(reply, "sites")), 2);
	json_decref(reply);
	revert("q");
	revert("p");
	assert_int_equal(byte(PLACE), 0x90);
	assert_int_equal(byte(OTHER), 0x90);
	json_decref(records);
}

static void test_not_in(void **state)
{
	(void)state;
	apply(text_p);
	json_t *records = export();
	revert("p");
	move_to(1);
	json_t *reply = adopt(records);
	expect(reply, 0, "absent");
	json_decref(reply);
	*guest_image_at(&w.vm.image, PLACE) = 0xfc;
	reply = adopt(records);
	expect(reply, 0, "attention");
	json_decref(reply);
	assert_null(w.s.patches.first);
	json_decref(records);
}

/* Each would make a revert write where, or what, the patch's text does not say. */
static void test_forged_sites(void **state)
{
	(void)state;
	apply(text_p);
	json_t *records = export(), *forged = json_deep_copy(records);
	move_to(1);
	/* elsewhere in the text: new is what is there */
	json_object_set_new(site_of(forged, 0), "address", qmp_address(OTHER));
	json_object_set_new(site_of(forged, 0), "new", json_string("90"));
	json_object_set_new(site_of(forged, 0), "old", json_string("cc"));
	json_t *reply = adopt(forged);
	expect(reply, 0, "refused");
	json_decref(reply);
	json_decref(forged);
	/* old bytes that no instruction ends in */
	forged = json_deep_copy(records);
	json_object_set_new(site_of(forged, 0), "old", json_string("e8"));
	reply = adopt(forged);
	expect(reply, 0, "refused");
	json_decref(reply);
	json_decref(forged);
	/* one more site than the text has: data, the guest's page tables */
	forged = json_deep_copy(records);
	json_t *more = json_deep_copy(site_of(forged, 0));
	json_object_set_new(more, "address", qmp_address(IMAGE_BASE + 0x100));
	json_object_set_new(more, "data", json_true());
	char hex[3] = "";
	hex_encode(guest_image_at(&w.vm.image, IMAGE_BASE + 0x100), 1, hex);
	json_object_set_new(more, "new", json_string(hex));
	json_array_append_new(json_object_get(json_array_get(forged, 0), "sites"), more);
	reply = adopt(forged);
	expect(reply, 0, "refused");
	json_decref(reply);
	json_decref(forged);
	json_decref(records);
}

static void test_other_boot(void **state)
{
	(void)state;
	apply(text_p);
	json_t *records = export();
	move_to(1);
	json_t *record = json_array_get(records, 0);
	char *build_id = strdup(json_string_value(json_object_get(record, "build_id")));
	json_object_set_new(record, "build_id", json_string("00"));
	json_t *reply = adopt(records);
	expect(reply, 0, "refused");
	json_decref(reply);
	json_object_set_new(record, "build_id", json_string(build_id));
	json_object_set_new(record, "base", qmp_address(IMAGE_BASE + 0x200000));
	reply = adopt(records);
	expect(reply, 0, "refused");
	json_decref(reply);
	free(build_id);
	json_decref(records);
}

static void test_malformed(void **state)
{
	static const char *const gone[] = { "version", "patch", "text", "sites", "base", "build_id" };

	(void)state;
	apply(text_p);
	json_t *records = export();
	move_to(1);
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
		json_t *broken = json_deep_copy(records);

		json_object_del(json_array_get(broken, 0), gone[i]);
		assert_int_equal(run_fails(command_patch_adopt, json_pack("{s:s, s:o}", "vm", "web1", "records", broken)).kind,
				 ERR_USAGE);
	}
	json_array_append(records, json_array_get(records, 0)); /* the same twice */
	struct err e = run_fails(command_patch_adopt, json_pack("{s:s, s:o}", "vm", "web1", "records", records));
	assert_non_null(strstr(e.text, "record 2: "));
}

/* --- kind function --- */

#define FUNCTION_TEXT \
	"vmpoke: 1\nname: f\nsites:\n  - { at: do_nothing, kind: function, object: f.o, symbol: fixed }\n"
#define MEMORY (IMAGE_ETEXT + 0x1000) /* some page of the image, as if it had been allocated for a payload */

static json_t *function_args(void)
{
	static const uint8_t code[] = { 0xe8, 0, 0, 0, 0, 0xc3 };
	static struct elf_object o;
	char hex[2 * sizeof(o.bytes) + 1];

	elf_object_begin(&o);
	size_t section = elf_object_section(&o, ".text", SHF_ALLOC | SHF_EXECINSTR, code, sizeof(code));
	elf_object_symbol(&o, "fixed", STT_FUNC, section, 0);
	elf_object_rela(&o, section, 1, R_X86_64_PLT32, elf_object_symbol(&o, "do_something", STT_NOTYPE, SHN_UNDEF, 0), -4);
	elf_object_end(&o);
	hex_encode(o.bytes, o.len, hex);
	return json_pack("{s:s, s:s, s:s}", "vm", "web1", "text", FUNCTION_TEXT, "object", hex);
}

/* As patch-apply leaves it, but for the agent that gets the memory. */
static void function_apply(void)
{
	__attribute__((cleanup(prepared_clear))) struct prepared p = { 0 };
	struct transaction *t = NULL;
	json_t *args = function_args();
	struct err e = { 0 };

	assert_int_equal(prepare_file(&w.s, args, &p, &e), 0);
	json_decref(args);
	assert_int_equal(session_guest(&w.s, NULL, &e), 0);
	assert_int_equal(prepare_payload(&w.s, &p, &e), 0);
	assert_int_equal(prepare_image(&w.s, &p, MEMORY, guest_image_at(&w.vm.image, MEMORY), &e), 0);
	if (prepare_plan(&w.s, &p, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(prepare_store(&w.s, &p, &e), 0);
	assert_int_equal(payloads_adopt(&w.s, &p, &e), 0);
	for (size_t i = 0; i < p.plan->n_sites; i++)
		memcpy(w.vm.image.ram + p.plan->sites[i].gpa, p.plan->sites[i].new_bytes, p.plan->sites[i].len);
	assert_int_equal(txlog_new(&w.s, OPERATION_APPLY, p.file, p.plan, &t, &e), 0);
	p.plan = NULL;
	assert_int_equal(txlog_begin(&w.s, t, &e), 0);
	assert_int_equal(txlog_end(&w.s, t, RESULT_APPLIED, NULL, NULL, &e), 0);
}

static void test_payload(void **state)
{
	(void)state;
	function_apply();
	json_t *records = export(), *forged = json_deep_copy(records);
	assert_string_equal(json_string_value(json_object_get(json_array_get(records, 0), "object_hash")) ? "hashed" : "not", "hashed");
	move_to(1);
	/* a payload elsewhere is not what the patch leads to */
	json_object_set_new(json_array_get(forged, 0), "payload", qmp_address(MEMORY + 0x1000));
	json_t *reply = adopt(forged);
	expect(reply, 0, "refused");
	json_decref(reply);
	json_decref(forged);
	/* somebody wrote to it */
	*guest_image_at(&w.vm.image, MEMORY + 5) ^= 1;
	reply = adopt(records);
	expect(reply, 0, "refused");
	json_decref(reply);
	assert_null(w.s.payloads.first);
	*guest_image_at(&w.vm.image, MEMORY + 5) ^= 1;
	reply = adopt(records);
	expect(reply, 0, "adopted");
	json_decref(reply);
	move_to(1);
	assert_non_null(w.s.payloads.first);
	assert_int_equal(w.s.payloads.first->gva, MEMORY);
	assert_true(payloads_in_use(&w.s, w.s.payloads.first));
	reply = run(command_patch_verify, json_pack("{s:s}", "vm", "web1"));
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
	json_decref(records);
}

static json_t *replace_args(const char *old, const char *text)
{
	return json_pack("{s:s, s:s, s:s}", "vm", "web1", "old", old, "text", text);
}

static void test_replace(void **state)
{
	(void)state;
	apply(text_p);
	json_t *reply = run(command_patch_replace, replace_args("p", text_r)); /* the same byte */
	assert_string_equal(json_string_value(json_object_get(reply, "replaced")), "p");
	json_decref(reply);
	assert_int_equal(byte(PLACE), 0xf5);
	assert_null(patch_list_find(&w.s.patches, "p"));
	revert("r");
	assert_int_equal(byte(PLACE), 0x90);
	assert_int_equal(run_fails(command_patch_replace, replace_args("p", text_r)).kind, ERR_NOT_FOUND);
}

/* What can be known of the new one is known before the old one goes. */
static void test_replace_refused(void **state)
{
	(void)state;
	apply(text_p);
	apply(text_q);
	unsigned writes = w.vm.writes;
	assert_int_equal(run_fails(command_patch_replace, replace_args("p", text_bad)).kind, ERR_REFUSED);
	assert_string_equal(run_fails(command_patch_replace, replace_args("p", text_p)).rule, "name-in-use");
	assert_string_equal(run_fails(command_patch_replace, replace_args("q", text_r)).rule, "overlap");
	assert_int_equal(w.vm.writes, writes);
	assert_null(w.s.overlay);
	assert_null(w.s.without);
	assert_int_equal(byte(PLACE), 0xf8);
}

static int vm_write_some(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	const uint8_t *bytes = buf;

	if (bytes[0] == 0xf5)
		return err_set(e, ERR_FAILED, EIO, "", "not this byte");
	return image_vm_ops.write(b, gpa, buf, len, e);
}

static int vm_write_none(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	(void)b, (void)gpa, (void)buf, (void)len;
	return err_set(e, ERR_FAILED, EIO, "", "nothing");
}

static void test_replace_put_back(void **state)
{
	static struct backend_ops ops;

	(void)state;
	ops = image_vm_ops;
	ops.write = vm_write_some;
	apply(text_p);
	w.vm.base.ops = &ops;
	struct err e = run_fails(command_patch_replace, replace_args("p", text_r));
	w.vm.base.ops = &image_vm_ops;
	assert_int_equal(e.kind, ERR_FAILED);
	assert_non_null(strstr(e.text, "put back"));
	assert_int_equal(byte(PLACE), 0xf8);
	assert_int_equal(patch_list_count(&w.s.patches, PATCH_APPLIED), 1);
	assert_non_null(patch_list_find(&w.s.patches, "p"));
}

static unsigned pauses;

/* What is on the disk when the second transaction has begun and written nothing: as if the worker died there. */
static int pause_and_copy(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	char command[256];

	snprintf(command, sizeof(command), "cp -a %s/. %s/", w.dir[0], w.dir[1]);
	if (++pauses == 2)
		assert_int_equal(system(command), 0);
	return image_vm_ops.pause(b, hook, ret, e);
}

/* A replacement that was cut off between its transactions, and its successor in place of the worker. */
static void cut_off(void)
{
	static struct backend_ops ops;

	ops = image_vm_ops;
	ops.pause = pause_and_copy;
	apply(text_p);
	json_t *args = replace_args("p", text_r);
	json_decref(run(command_patch_check, json_pack("{s:s, s:s}", "vm", "web1", "text", text_q))); /* the guest is known */
	pauses = 0;
	w.vm.base.ops = &ops;
	json_decref(run(command_patch_replace, args));
	w.vm.base.ops = &image_vm_ops;
	assert_true(pauses >= 2);
	assert_int_equal(w.s.replacing.old[0], 0);
	*guest_image_at(&w.vm.image, PLACE) = 0x90;
	move_to(1);
	assert_string_equal(w.s.replacing.old, "p");
	assert_string_equal(w.s.replacing.new, "r");
}

/* The next worker puts the old one back. */
static void test_replace_cut_off(void **state)
{
	struct err e = { 0 };

	(void)state;
	cut_off();
	assert_int_equal(session_attach(&w.s, &e), 0);
	assert_null(patch_list_find(&w.s.patches, "p"));
	assert_int_equal(replacing_wait_ms(&w.s), 0);
	assert_int_equal(replacing_begin(&w.s, "another", "its-successor", &e), -EBUSY); /* it would be forgotten */
	assert_string_equal(w.s.replacing.old, "p");
	if (replacing_resume(&w.s, &e) < 0 || w.s.replacing.old[0])
		fail_msg("%s", e.text);
	assert_int_equal(byte(PLACE), 0xf8);
	assert_non_null(patch_list_find(&w.s.patches, "p"));
	assert_null(patch_list_find(&w.s.patches, "r"));
	assert_int_equal(replacing_wait_ms(&w.s), -1);
	move_to(1); /* and only once */
	assert_int_equal(w.s.replacing.old[0], 0);
	revert("p");
	assert_int_equal(byte(PLACE), 0x90);
}

/* Not into another boot, and not where somebody was quicker. */
static void test_replace_cut_off_and_over(void **state)
{
	struct err e = { 0 };

	(void)state;
	cut_off();
	assert_int_equal(session_attach(&w.s, &e), 0);
	w.s.replacing.base += 0x200000;
	assert_int_equal(replacing_resume(&w.s, &e), 0);
	assert_int_equal(w.s.replacing.old[0], 0);
	assert_int_equal(byte(PLACE), 0x90);
	move_to(1);
	assert_int_equal(w.s.replacing.old[0], 0);
	apply(text_r);
	snprintf(w.s.replacing.old, sizeof(w.s.replacing.old), "p");
	snprintf(w.s.replacing.new, sizeof(w.s.replacing.new), "r");
	assert_int_equal(replacing_resume(&w.s, &e), 0);
	assert_int_equal(w.s.replacing.old[0], 0);
	assert_int_equal(byte(PLACE), 0xf5);
}

static void allow_bytes(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk was full when it was over: what somebody does later is not undone by the next worker. */
static void test_replace_end_is_owed(void **state)
{
	struct err e = { 0 };

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	apply(text_p);
	json_decref(run(command_patch_replace, replace_args("p", text_r)));
	assert_int_equal(replacing_begin(&w.s, "p", "r", &e), 0);
	allow_bytes(journal_size(w.s.journal) + 3);
	replacing_end(&w.s);
	allow_bytes(RLIM_INFINITY);
	revert("r");
	move_to(0);
	assert_int_equal(w.s.replacing.old[0], 0);
}

/* What cannot be done is tried again, not for ever. */
static void test_replace_given_up(void **state)
{
	static struct backend_ops ops;
	struct err e = { 0 };
	int r = 0;

	(void)state;
	cut_off();
	assert_int_equal(session_attach(&w.s, &e), 0);
	ops = image_vm_ops;
	ops.write = vm_write_none;
	w.vm.base.ops = &ops;
	for (int i = 0; w.s.replacing.old[0]; i++) {
		assert_true(i < 100);
		w.s.replacing.due_us = 0;
		r = replacing_resume(&w.s, &e);
	}
	w.vm.base.ops = &image_vm_ops;
	assert_true(r < 0);
	assert_non_null(strstr(e.text, "patch 'p' was being replaced"));
	assert_int_equal(byte(PLACE), 0x90);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_moved_and_reverted), TEST(test_not_in),	   TEST(test_forged_sites),
		TEST(test_other_boot),	       TEST(test_malformed),	   TEST(test_replace),
		TEST(test_payload),
		TEST(test_replace_refused),    TEST(test_replace_put_back),
		TEST(test_replace_cut_off),    TEST(test_replace_cut_off_and_over),
		TEST(test_replace_end_is_owed),
		TEST(test_replace_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
