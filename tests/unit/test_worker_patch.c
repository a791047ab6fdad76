// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * patch-check, patch-apply, patch-revert of a worker against a whole made-up
 * guest: what clients are told is what is in the guest and in the journal, also
 * when the guest booted anew unseen or the monitor is lost at a bad moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fake/elf_object.h"
#include "tests/fake/image_vm.h"
#include "vmm/worker/commands.h"
#include "vmm/payload/payload.h"
#include "vmm/worker/payloads.h"

#define PLACE (IMAGE_FUNC + 8)

static struct {
	char dir[64];
	int peer;
	struct image_vm vm;
	struct session s;
} w;

static int setup(void **state)
{
	struct err e = { 0 };
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	strcpy(w.dir, "/tmp/vmpoke-patch-XXXXXX");
	if (!mkdtemp(w.dir) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	image_vm_init(&w.vm);
	w.peer = pair[1];
	w.s = (struct session){ .target.vm = "web1", .target.qmp = "q", .backend_name = "none", .state_dir = w.dir };
	session_init(&w.s);
	w.s.control = control_new(pair[0]);
	w.s.backend = &w.vm.base;
	return journal_open(w.dir, "web1", 0, &w.s.journal, &e) < 0 || session_load(&w.s, &e) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	session_clear(&w.s);
	journal_close(w.s.journal);
	control_free(w.s.control);
	close(w.peer);
	snprintf(command, sizeof(command), "rm -rf %s", w.dir);
	return system(command);
}

static const char text[] = "vmpoke: 1\nname: p\nsites:\n  - { at: do_nothing+0x8, kind: bytes, old: \"90\", new: \"c3\" }\n";

/* Runs a command, which must succeed. */
static void run(int (*command)(struct session *, json_t *, json_t **, struct err *), const char *want_state,
		bool want_changed)
{
	json_t *args = json_pack("{s:s, s:s}", "vm", "web1", "text", text), *value = NULL;
	struct err e = { 0 };

	if (command(&w.s, args, &value, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(json_string_value(json_object_get(value, "state")), want_state);
	assert_int_equal(json_is_true(json_object_get(value, "changed")), want_changed);
	json_decref(value);
	json_decref(args);
}

static uint8_t byte(void)
{
	return *guest_image_at(&w.vm.image, PLACE);
}

static void test_there_and_back(void **state)
{
	(void)state;
	run(command_patch_check, "applicable", false);
	assert_int_equal(byte(), 0x90);
	run(command_patch_apply, "applied", true);
	assert_int_equal(byte(), 0xc3);
	run(command_patch_apply, "applied", false);
	run(command_patch_check, "applied", false);
	run(command_patch_revert, "reverted", true);
	assert_int_equal(byte(), 0x90);
	run(command_patch_revert, "reverted", false);
	assert_true(w.vm.running);
}

/* The same kernel at the same place, but its text is new: "already applied" would be a lie. */
static void test_boot_unseen(void **state)
{
	(void)state;
	run(command_patch_apply, "applied", true);
	*guest_image_at(&w.vm.image, PLACE) = 0x90;
	run(command_patch_check, "applicable", false);
	run(command_patch_apply, "applied", true);
	assert_int_equal(byte(), 0xc3);
	*guest_image_at(&w.vm.image, PLACE) = 0x90;
	run(command_patch_revert, "reverted", false);
	assert_null(w.s.patches.first);
}

static int resume_unconfirmed(struct backend *b, struct err *e)
{
	(void)b;
	w.vm.running = true;
	return w.vm.pauses > 1 ? 0 : err_set(e, ERR_INACTIVE, ENOTCONN, "", "nobody confirmed it");
}

/* All bytes are new, but whether the VM runs cannot be told: looking again shows that all was done. */
static void test_done_after_all(void **state)
{
	static struct backend_ops ops;

	(void)state;
	ops = image_vm_ops;
	ops.resume = resume_unconfirmed;
	w.vm.base.ops = &ops;
	run(command_patch_apply, "applied", true);
	assert_int_equal(byte(), 0xc3);
	w.vm.pauses = 0;
	run(command_patch_revert, "reverted", true);
	assert_int_equal(byte(), 0x90);
	w.vm.base.ops = &image_vm_ops;
}

static int pause_impossible(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	(void)b;
	(void)hook;
	(void)ret;
	return err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state", "the VM is in state shutdown");
}

/* A VM that is powered off while a transaction waits for recovery is there all the same. */
static void test_recovery_must_wait(void **state)
{
	static struct backend_ops ops;
	struct transaction *t = calloc(1, sizeof(*t));
	struct err e = { 0 };

	(void)state;
	ops = image_vm_ops;
	ops.pause = pause_impossible;
	w.vm.base.ops = &ops;
	t->plan = calloc(1, sizeof(*t->plan));
	t->plan->sites = calloc(1, sizeof(*t->plan->sites));
	t->plan->n_sites = 1;
	w.s.open = t;
	w.s.open_state = POKE_WRITTEN;
	assert_int_equal(session_attach(&w.s, &e), -EHOSTDOWN);
	assert_ptr_equal(w.s.backend, &w.vm.base);
	assert_ptr_equal(w.s.open, t);
	w.vm.base.ops = &image_vm_ops;
}

static uint64_t time_of_query(void)
{
	json_t *args = json_pack("{s:s}", "vm", "web1"), *value = NULL;
	struct err e = { 0 };
	uint64_t began = now_us();

	assert_int_equal(command_query_vm(&w.s, args, &value, &e), 0);
	assert_string_equal(json_string_value(json_object_get(value, "state")), "unreachable");
	json_decref(value);
	json_decref(args);
	return now_us() - began;
}

/* A monitor that takes the connection and says nothing costs one long wait, not one per look. */
static void test_silent_monitor(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/qmp", w.dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 8), 0);
	w.s.backend = NULL;
	w.s.backend_name = "qemu";
	w.s.target.qmp = sa.sun_path;
	w.s.target.runtime_dir = w.dir;
	assert_true(time_of_query() > 1000000);
	assert_true(time_of_query() < 500000);
	close(fd);
}

/* --- kind function --- */

#define FUNCTION_TEXT \
	"vmpoke: 1\nname: f\nsites:\n  - { at: do_nothing, kind: function, object: f.o, symbol: fixed }\n"
#define MEMORY (IMAGE_ETEXT + 0x1000) /* some page of the image, as if it had been allocated for a payload */

/* "fixed" of an object, a call of `calls`; in hex. */
static json_t *object_hex(const char *calls)
{
	static const uint8_t code[] = { 0xe8, 0, 0, 0, 0, 0xc3 };
	static struct elf_object o;
	char hex[2 * sizeof(o.bytes) + 1];

	elf_object_begin(&o);
	size_t section = elf_object_section(&o, ".text", SHF_ALLOC | SHF_EXECINSTR, code, sizeof(code));
	elf_object_symbol(&o, "fixed", STT_FUNC, section, 0);
	elf_object_rela(&o, section, 1, R_X86_64_PLT32, elf_object_symbol(&o, calls, STT_NOTYPE, SHN_UNDEF, 0), -4);
	elf_object_end(&o);
	hex_encode(o.bytes, o.len, hex);
	return json_string(hex);
}

static const char *agent_use = "facts";

/* -errno of a command on FUNCTION_TEXT with this object (stolen; NULL: none). */
static int try(int (*command)(struct session *, json_t *, json_t **, struct err *), json_t *object, struct err *e)
{
	json_t *args = json_pack("{s:s, s:s, s:s}", "vm", "web1", "text", FUNCTION_TEXT, "agent-use", agent_use), *value = NULL;

	*e = (struct err){ 0 };
	if (object)
		json_object_set_new(args, "object", object);
	int r = command(&w.s, args, &value, e);
	if (r == 0)
		assert_string_equal(json_string_value(json_object_get(value, "state")), "applicable");
	json_decref(value);
	json_decref(args);
	return r;
}

static void test_function_without_agent(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(try(command_patch_check, object_hex("do_something"), &e), 0);
	assert_int_equal(try(command_patch_apply, object_hex("do_something"), &e), -EOPNOTSUPP);
	assert_string_equal(e.rule, "borrow-agent");
	agent_use = "none";
	assert_int_equal(try(command_patch_apply, object_hex("do_something"), &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "forbids"));
	agent_use = "facts";
	assert_int_equal(try(command_patch_check, object_hex("no_such_thing"), &e), -ENOENT);
	assert_string_equal(e.rule, "payload-symbol");
	assert_int_equal(try(command_patch_check, NULL, &e), -EINVAL);
	assert_int_equal(e.kind, ERR_USAGE);
	assert_int_equal(try(command_patch_check, json_string("7f45zz"), &e), -EINVAL);
	assert_int_equal(try(command_patch_check, json_string("7f454c46"), &e), -EBADMSG);
	assert_null(w.s.payloads.first);
	assert_null(w.s.patches.first);
	assert_true(w.vm.running && *guest_image_at(&w.vm.image, IMAGE_FUNC) == 0x90);
}

/* As if it had been placed there by this worker, in this boot. */
static struct payload_memory placed(void)
{
	struct payload_memory m = { .patch = "f", .gva = MEMORY, .size = 4096, .text = 4096 };
	struct err e = { 0 };

	assert_int_equal(session_guest(&w.s, NULL, &e), 0);
	m.boot = session_boot(&w.s);
	assert_int_equal(payloads_crc(&w.s, &m, &m.crc, &e), 0);
	return m;
}

/* What becomes of it, and why it is kept. */
static void released(const struct payload_memory *m, const char *want_state, const char *why)
{
	assert_int_equal(payload_list_add(&w.s.payloads, m), 0);
	json_t *told = payloads_release(&w.s, 1000000), *o = json_array_get(told, 0);

	assert_int_equal(json_array_size(told), want_state ? 1 : 0);
	if (want_state)
		assert_string_equal(json_string_value(json_object_get(o, "state")), want_state);
	if (why && !strstr(json_string_value(json_object_get(o, "why")), why))
		fail_msg("%s", json_string_value(json_object_get(o, "why")));
	assert_int_equal(w.s.payloads.first != NULL, !want_state || strcmp(want_state, "kept") == 0);
	assert_true(w.vm.running);
	json_decref(told);
	payload_list_clear(&w.s.payloads);
}

static void test_payload_is_kept(void **state)
{
	struct payload_memory m = placed();
	uint64_t at = w.vm.image.stack[TASK_ONE] + IMAGE_STACK - 64, word;

	(void)state;
	released(&m, "kept", "no way to an agent"); /* nobody is in it, and nobody is there to free it */
	memcpy(&word, guest_image_at(&w.vm.image, at), sizeof(word));
	guest_image_put64(&w.vm.image, at, MEMORY + PAYLOAD_LEAD); /* the first byte of its text counts as well */
	released(&m, "kept", "task stack of ");
	guest_image_put64(&w.vm.image, at, MEMORY + 4095);
	released(&m, "kept", "(pid 1)");
	guest_image_put64(&w.vm.image, at, MEMORY + 4096);
	released(&m, "kept", "no way to an agent");
	guest_image_put64(&w.vm.image, at, MEMORY); /* what the kernel answered to who asked for it */
	released(&m, "kept", "no way to an agent");
	guest_image_put64(&w.vm.image, at, word);
	w.vm.image.regs[0].rip = MEMORY + PAYLOAD_LEAD + 8;
	released(&m, "kept", "vCPU 0");
	w.vm.image.regs[0].rip = IMAGE_HANDLER;
	m.shows_code = true;
	released(&m, "kept", "addresses of its own code");
}

/* Memory of another boot is nobody's to free: it is forgotten. */
static void test_payload_of_another_boot(void **state)
{
	struct payload_memory m = placed(), other = m;

	(void)state;
	other.boot.base += 0x200000;
	released(&other, "freed", NULL);
	other = m;
	other.boot.pid = w.s.info.pid + 1;
	released(&other, w.s.info.pid ? "freed" : "kept", NULL);
	other = m;
	other.crc++;
	released(&other, "freed", NULL);
	other = m;
	other.gva = UINT64_C(0xffffffffff000000); /* not mapped */
	released(&other, "freed", NULL);
	assert_int_equal(payload_list_add(&w.s.payloads, &m), 0);
	session_lose_patches(&w.s);
	assert_null(w.s.payloads.first);
}

/* A jump that is in leads there: not even looked at. */
static void test_payload_in_use(void **state)
{
	char jump[256];
	const struct payload_memory m = placed();
	uint32_t rel = (uint32_t)(MEMORY + 16 - (IMAGE_FUNC + 13));
	struct err e = { 0 };
	json_t *value = NULL;

	(void)state;
	snprintf(jump, sizeof(jump), "vmpoke: 1\nname: p\nsites:\n  - { at: do_nothing+0x8, kind: bytes, old: \"9090909090\", "
		 "new: \"e9%02x%02x%02x%02x\" }\n", rel & 255, rel >> 8 & 255, rel >> 16 & 255, rel >> 24);
	json_t *args = json_pack("{s:s, s:s}", "vm", "web1", "text", jump);
	if (command_patch_apply(&w.s, args, &value, &e) < 0)
		fail_msg("%s", e.text);
	released(&m, NULL, NULL);
	json_decref(value);
	value = NULL;
	assert_int_equal(payload_list_add(&w.s.payloads, &m), 0);
	assert_int_equal(command_patch_revert(&w.s, args, &value, &e), 0);
	json_t *told = json_object_get(value, "payloads");
	assert_string_equal(json_string_value(json_object_get(json_array_get(told, 0), "state")), "kept");
	json_decref(value);
	json_decref(args);
}

/* What the worker has sent so far: the phases of JOB_PROGRESS, in order, each with a blank. */
static void phases(char *ret, size_t cap)
{
	char buf[16384];
	ssize_t n = recv(w.peer, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	*ret = '\0';
	buf[n > 0 ? n : 0] = '\0';
	for (char *line = strtok(buf, "\r\n"); line; line = strtok(NULL, "\r\n")) {
		json_auto_t *message = json_loads(line, 0, NULL);
		json_t *data = json_object_get(message, "data");
		const char *event = json_string_value(json_object_get(message, "event"));

		if (!event || strcmp(event, "JOB_PROGRESS") != 0)
			continue;
		assert_string_equal(json_string_value(json_object_get(data, "vm")), "web1");
		assert_string_equal(json_string_value(json_object_get(data, "id")), "j1");
		snprintf(ret + strlen(ret), cap - strlen(ret), "%s ", json_string_value(json_object_get(data, "phase")));
	}
}

static void told(int (*command)(struct session *, json_t *, json_t **, struct err *), const char *state, bool changed,
		 const char *want)
{
	json_auto_t *args = json_pack("{s:b, s:s}", "progress", 1, "job-id", "j1");
	char got[256];

	session_progress_begin(&w.s, args);
	run(command, state, changed);
	session_progress_end(&w.s);
	phases(got, sizeof(got));
	assert_string_equal(got, want);
}

/* Nothing after "sync": then the guest stands still. */
static void test_progress(void **state)
{
	char got[256];

	(void)state;
	told(command_patch_check, "applicable", false, "resolve check ");
	told(command_patch_apply, "applied", true, "resolve check sync ");
	told(command_patch_revert, "reverted", true, "resolve check sync ");
	run(command_patch_apply, "applied", true); /* nobody asked */
	phases(got, sizeof(got));
	assert_string_equal(got, "");
}

/* What goes on with live vCPUs is told to the end; of a flood only so much. */
static void test_progress_states(void **state)
{
	json_auto_t *args = json_pack("{s:b, s:s}", "progress", 1, "job-id", "j1");
	char got[8192];
	size_t n = 0;

	(void)state;
	session_progress_begin(&w.s, args);
	for (int at = POKE_PLANNED; at < POKE_STATE_COUNT; at++)
		session_progress_state(&w.s, POKE_MODE_STAGED, (enum poke_state)at);
	phases(got, sizeof(got));
	assert_string_equal(got, "sync trap sync write verify ");
	for (int i = 0; i < 1000; i++)
		session_progress(&w.s, i % 2 ? "trap" : "sync");
	session_progress_end(&w.s);
	phases(got, sizeof(got));
	for (const char *at = got; (at = strchr(at, ' ')); at++)
		n++;
	assert_in_range(n, 50, 150); /* 100 a second, less what was told before */
}

/* An idle worker has no symbol tables, and nobody notices but by its size. */
static void test_rest(void **state)
{
	(void)state;
	run(command_patch_apply, "applied", true);
	session_used(&w.s);
	assert_true(session_rest(&w.s) > 0);
	struct guest_symbol found;
	assert_int_equal(guest_symbol_get(w.s.guest, 0, &found), 0);
	w.s.rest_due_us = 1;
	assert_int_equal(session_rest(&w.s), -1);
	assert_int_equal(guest_symbol_get(w.s.guest, 0, &found), -ERANGE);
	assert_string_equal(guest_facts(w.s.guest)->build_id_hex, w.s.patches.first->begin->boot.build_id);
	assert_int_equal(session_rest(&w.s), -1);
	run(command_patch_apply, "applied", false);
	run(command_patch_revert, "reverted", true);
	assert_int_equal(byte(), 0x90);
}

static int info_needs_pause(struct backend *b, struct backend_info *ret, struct err *e)
{
	image_vm_ops.info(b, ret, e);
	ret->caps &= ~(unsigned)BACKEND_LIVE_READ;
	return 0;
}

/* Where looking again would stop the VM the tables stay. */
static void test_rest_costs_no_pause(void **state)
{
	static struct backend_ops ops;
	struct guest_symbol found;

	(void)state;
	ops = image_vm_ops;
	ops.info = info_needs_pause;
	w.vm.base.ops = &ops;
	run(command_patch_check, "applicable", false);
	w.s.rest_due_us = 1;
	assert_int_equal(session_rest(&w.s), -1);
	assert_int_equal(guest_symbol_get(w.s.guest, 0, &found), 0);
}

/* Pages that this process has mapped of a library's text: read all first, or only count. */
static size_t library_pages(const char *name, bool touch)
{
	_cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	_cleanup_close_ int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t size = (size_t)sysconf(_SC_PAGESIZE), n = 0;
	char line[512];

	assert_non_null(maps);
	assert_true(map >= 0);
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t start, end;
		uint64_t entry;

		if (!strstr(line, name) || !strstr(line, " r-xp ") || sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) != 2)
			continue;
		for (uintptr_t at = start; at < end; at += size) {
			if (touch)
				(void)*(volatile const char *)at;
			assert_int_equal(pread(map, &entry, sizeof(entry), (off_t)(at / size * sizeof(entry))), sizeof(entry));
			n += entry >> 63; /* present: Documentation/admin-guide/mm/pagemap.rst */
		}
	}
	return n;
}

/* What the file of a program or library has as well is not kept mapped by an idle worker. */
static void test_rest_text(void **state)
{
	(void)state;
	assert_in_range(library_pages("/libyaml-", true), 8, 4096); /* which only a patch file needs */
	w.s.rest_due_us = 1;
	assert_int_equal(session_rest(&w.s), -1);
	assert_int_equal(library_pages("/libyaml-", false), 0);
	run(command_patch_apply, "applied", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_boot_unseen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_done_after_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_progress, setup, teardown),
		cmocka_unit_test_setup_teardown(test_progress_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rest_costs_no_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rest_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recovery_must_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_monitor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_function_without_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_payload_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_payload_of_another_boot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_payload_in_use, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
