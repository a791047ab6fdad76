// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * patch-check, patch-apply, patch-revert of a worker against a whole made-up
 * guest: what clients are told is what is in the guest and in the journal, also
 * when the guest booted anew unseen or the monitor is lost at a bad moment.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "tests/fake/guest_image.h"
#include "vmm/worker/commands.h"

#define PLACE (IMAGE_FUNC + 8)

static struct {
	char dir[64];
	int peer;
	struct backend base;
	struct guest_image image;
	bool running;
	unsigned pauses;
	struct session s;
} w;

static int vm_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = (struct backend_info){ .caps = BACKEND_STEP | BACKEND_LIVE_READ | BACKEND_LIVE_REGS, .vcpus = IMAGE_CPUS,
				      .state = w.running ? BACKEND_RUNNING : BACKEND_PAUSED, .pid = 1, .pid_start = 1 };
	return 0;
}

static int vm_event(struct backend *b, enum backend_event_kind *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = BACKEND_EVENT_NONE;
	return 0;
}

static int vm_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	(void)b;
	return w.image.mem.read(&w.image.mem, gpa, buf, len, e);
}

static int vm_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	(void)b;
	(void)e;
	assert_false(w.running);
	memcpy(w.image.ram + gpa, buf, len);
	return 0;
}

static int vm_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	(void)b;
	*ret = w.running;
	int r = hook ? hook->before(hook, w.running, e) : 0;
	w.running = false;
	w.pauses++;
	return r;
}

static int vm_resume(struct backend *b, struct err *e)
{
	(void)b;
	(void)e;
	w.running = true;
	return 0;
}

static int vm_resume_orphan(struct backend *b, struct err *e)
{
	(void)b;
	(void)e;
	w.running = true;
	return 0;
}

static int vm_regs_get(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = w.image.regs[vcpu];
	return 0;
}

static void vm_close(struct backend *b)
{
	(void)b;
}

static const struct backend_ops vm_ops = {
	.name = "image", .close = vm_close, .info = vm_info, .event = vm_event, .read = vm_read, .write = vm_write,
	.pause = vm_pause, .resume = vm_resume, .resume_orphan = vm_resume_orphan, .regs_get = vm_regs_get,
};

static int setup(void **state)
{
	const struct guest_image_options options = { .layout = IMAGE_61 };
	struct err e = { 0 };
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	strcpy(w.dir, "/tmp/vmpoke-patch-XXXXXX");
	if (!mkdtemp(w.dir) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	guest_image_build(&w.image, &options);
	memset(guest_image_at(&w.image, IMAGE_FUNC), 0x90, IMAGE_FUNC_END - IMAGE_FUNC - 1);
	*guest_image_at(&w.image, IMAGE_FUNC_END - 1) = 0xc3;
	w.base.ops = &vm_ops;
	w.running = true;
	w.peer = pair[1];
	w.s = (struct session){ .target.vm = "web1", .target.qmp = "q", .backend_name = "none", .state_dir = w.dir };
	session_init(&w.s);
	w.s.control = control_new(pair[0]);
	w.s.backend = &w.base;
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
	return *guest_image_at(&w.image, PLACE);
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
	assert_true(w.running);
}

/* The same kernel at the same place, but its text is new: "already applied" would be a lie. */
static void test_boot_unseen(void **state)
{
	(void)state;
	run(command_patch_apply, "applied", true);
	*guest_image_at(&w.image, PLACE) = 0x90;
	run(command_patch_check, "applicable", false);
	run(command_patch_apply, "applied", true);
	assert_int_equal(byte(), 0xc3);
	*guest_image_at(&w.image, PLACE) = 0x90;
	run(command_patch_revert, "reverted", false);
	assert_null(w.s.patches.first);
}

static int resume_unconfirmed(struct backend *b, struct err *e)
{
	(void)b;
	w.running = true;
	return w.pauses > 1 ? 0 : err_set(e, ERR_INACTIVE, ENOTCONN, "", "nobody confirmed it");
}

/* All bytes are new, but whether the VM runs cannot be told: looking again shows that all was done. */
static void test_done_after_all(void **state)
{
	static struct backend_ops ops;

	(void)state;
	ops = vm_ops;
	ops.resume = resume_unconfirmed;
	w.base.ops = &ops;
	run(command_patch_apply, "applied", true);
	assert_int_equal(byte(), 0xc3);
	w.pauses = 0;
	run(command_patch_revert, "reverted", true);
	assert_int_equal(byte(), 0x90);
	w.base.ops = &vm_ops;
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
	ops = vm_ops;
	ops.pause = pause_impossible;
	w.base.ops = &ops;
	t->plan = calloc(1, sizeof(*t->plan));
	t->plan->sites = calloc(1, sizeof(*t->plan->sites));
	t->plan->n_sites = 1;
	w.s.open = t;
	w.s.open_state = POKE_WRITTEN;
	assert_int_equal(session_attach(&w.s, &e), -EHOSTDOWN);
	assert_ptr_equal(w.s.backend, &w.base);
	assert_ptr_equal(w.s.open, t);
	w.base.ops = &vm_ops;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_boot_unseen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_done_after_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recovery_must_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_monitor, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
