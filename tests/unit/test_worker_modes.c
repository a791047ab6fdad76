// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker's commands on a VM whose text can change while it runs: which mode is
 * taken, which is refused and why, what replies, journal and history say of it, and
 * the timeline of the last transaction.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/fake/guest_image.h"
#include "vmm/worker/commands.h"

#define PLACE (IMAGE_FUNC + 8)

static struct {
	char dir[64];
	int peer;
	struct backend base;
	struct guest_image image;
	unsigned caps;
	unsigned flips, arms, stores, pauses;
	struct session s;
} w;

static int vm_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = (struct backend_info){ .caps = w.caps, .vcpus = IMAGE_CPUS, .state = BACKEND_RUNNING, .pid = 1,
				      .pid_start = 1 };
	return 0;
}

static int vm_abilities(struct backend *b, struct backend_ability *ret, size_t cap, struct err *e)
{
	(void)b;
	(void)e;
	assert_true(cap >= 1);
	ret[0] = (struct backend_ability){ "int3", "reported" };
	return 1;
}

static int vm_event_fd(const struct backend *b)
{
	(void)b;
	return -1;
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
	memcpy(w.image.ram + gpa, buf, len);
	w.stores++;
	return 0;
}

static int vm_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	(void)b;
	*ret = true;
	w.pauses++;
	return hook ? hook->before(hook, true, e) : 0;
}

static int vm_resume(struct backend *b, struct err *e)
{
	(void)b;
	(void)e;
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

static int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	(void)e;
	(void)h;
	w.arms++;
	return 0;
}

static int live_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	(void)h;
	(void)e;
	return 0;
}

static int live_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
			struct backend_barrier *ret, struct err *e)
{
	(void)b;
	(void)h;
	(void)gvas;
	(void)n;
	(void)e;
	ret->kicked = 1;
	return 0;
}

static int live_barrier(struct backend *b, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e)
{
	(void)b;
	(void)gpas;
	(void)n;
	(void)e;
	*ret = (struct backend_barrier){ .kicked = 1, .already_out = 1, .waited_us = 3, .kicked_vcpus = 2 };
	return 0;
}

static int live_flip(struct backend *b, const struct backend_flip *flips, size_t n, struct backend_barrier *ret,
		     struct err *e)
{
	for (size_t i = 0; i < n; i++)
		vm_write(b, flips[i].gpa, flips[i].bytes, flips[i].len, e);
	w.flips++;
	return live_barrier(b, NULL, 0, ret, e);
}

static int live_release(struct backend *b, struct err *e)
{
	(void)b;
	(void)e;
	return 0;
}

static const struct backend_live_ops live_ops = {
	.arm = live_arm, .disarm = live_disarm, .trap_hw = live_trap_hw, .write = vm_write, .barrier = live_barrier, .flip = live_flip,
	.release = live_release,
};

static const struct backend_ops vm_ops = {
	.name = "image", .live = &live_ops, .close = vm_close, .info = vm_info, .abilities = vm_abilities,
	.event_fd = vm_event_fd, .event = vm_event, .read = vm_read, .write = vm_write, .pause = vm_pause, .resume = vm_resume,
	.regs_get = vm_regs_get,
};

static int setup(void **state)
{
	const struct guest_image_options options = { .layout = IMAGE_61 };
	struct err e = { 0 };
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	w.caps = BACKEND_STEP | BACKEND_LIVE_READ | BACKEND_LIVE_REGS | BACKEND_NONSTOP | BACKEND_REMAP |
		 BACKEND_TRAP_INT3 | BACKEND_TRAP_HW;
	strcpy(w.dir, "/tmp/vmpoke-modes-XXXXXX");
	if (!mkdtemp(w.dir) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	guest_image_build(&w.image, &options);
	memset(guest_image_at(&w.image, IMAGE_FUNC), 0x90, IMAGE_FUNC_END - IMAGE_FUNC - 1);
	*guest_image_at(&w.image, IMAGE_FUNC_END - 1) = 0xc3;
	w.base.ops = &vm_ops;
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

#define HEAD  "vmpoke: 1\nname: p\n"
#define ONE   "sites:\n  - { at: do_nothing+0x8, kind: bytes, old: \"90\", new: \"c3\" }\n"
#define TWO   ONE "  - { at: do_nothing+0xa, kind: bytes, old: \"90\", new: \"c3\" }\n"

typedef int command_fn(struct session *, json_t *, json_t **, struct err *);

static int call(command_fn *command, const char *text, const char *mode, const char *traps, json_t **ret, struct err *e)
{
	json_t *args = json_pack("{s:s, s:s}", "vm", "web1", "text", text);

	if (mode)
		json_object_set_new(args, "mode", json_string(mode));
	if (traps)
		json_object_set_new(args, "traps", json_string(traps));
	*e = (struct err){ 0 };
	*ret = NULL;
	int r = command(&w.s, args, ret, e);
	json_decref(args);
	return r;
}

static void assert_done(command_fn *command, const char *text, const char *mode, const char *traps, const char *taken)
{
	struct err e;
	json_t *value;

	if (call(command, text, mode, traps, &value, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(json_string_value(json_object_get(value, "mode")), taken);
	bool live = strcmp(taken, "stopped") != 0 && command != command_patch_check;
	assert_int_equal(json_is_integer(json_object_get(value, "kicked")), live);
	assert_int_equal(json_is_integer(json_object_get(value, "held_us")), live);
	if (live)
		assert_true(json_integer_value(json_object_get(value, "kicked")) > 0);
	json_decref(value);
}

static void there_and_back(const char *text, const char *mode, const char *traps, const char *taken)
{
	assert_done(command_patch_check, text, mode, traps, taken);
	assert_int_equal(*guest_image_at(&w.image, PLACE), 0x90);
	assert_done(command_patch_apply, text, mode, traps, taken);
	assert_int_equal(*guest_image_at(&w.image, PLACE), 0xc3);
	assert_done(command_patch_revert, text, mode, traps, taken);
	assert_int_equal(*guest_image_at(&w.image, PLACE), 0x90);
}

static void test_as_asked(void **state)
{
	(void)state;
	there_and_back(HEAD ONE, NULL, NULL, "flipped");
	assert_int_equal(w.flips, 2);
	assert_int_equal(w.arms + w.pauses, 0);
	there_and_back(HEAD ONE, "staged", NULL, "staged");
	there_and_back(HEAD ONE, "held", "hw", "held");
	assert_int_equal(w.arms, 4);
	assert_int_equal(w.flips, 2);
	there_and_back(HEAD ONE, "stopped", NULL, "stopped");
	assert_int_equal(w.pauses, 2);
	there_and_back(HEAD TWO, "held", NULL, "held");
	there_and_back(HEAD "atomic: false\n" TWO, "staged", "int3", "staged");
}

#define PADDING (IMAGE_BASE + 0xa00)
#define PUSH	HEAD "sites:\n  - { at: do_nothing+0x8, kind: bytes, old: \"90\", new: \"53\" }\n"

/* The reply of apply and of revert: barriers taken; words of "why", NULL: nothing is said of copies. */
static void assert_copies(unsigned apply_barriers, unsigned revert_barriers, const char *words)
{
	command_fn *const commands[] = { command_patch_apply, command_patch_revert };
	const unsigned barriers[] = { apply_barriers, revert_barriers };

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		struct err e;
		json_t *value;

		if (call(commands[i], PUSH, "staged", NULL, &value, &e) < 0)
			fail_msg("%s", e.text);
		const char *why = json_string_value(json_object_get(value, "why"));
		if (words ? !strstr(why, words) : strstr(why, "copies") != NULL)
			fail_msg("why: %s", why);
		assert_int_equal(json_integer_value(json_object_get(value, "barriers")), barriers[i]);
		assert_int_equal(json_integer_value(json_object_get(value, "copied")), 0);
		json_decref(value);
	}
}

/* How many slots the begin record of the last transaction names; *ret_first is where the first one is. */
static size_t slots_journaled(uint64_t *ret_first)
{
	char path[128], line[8192];
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/journal/web1.jsonl", w.dir);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		json_t *record = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL), *slots;

		slots = json_object_get(record, "slots");
		if (slots)
			n = json_array_size(slots);
		if (json_array_size(slots))
			assert_int_equal(qmp_address_parse(json_object_get(json_array_get(slots, 0), "address"), ret_first), 0);
		json_decref(record);
	}
	fclose(f);
	return n;
}

/* An instruction that can only be stepped gets a slot in the kernel's padding, journaled, and padding again later. */
static void test_slots(void **state)
{
	struct transaction *t = calloc(1, sizeof(*t));
	uint64_t first = 0;

	(void)state;
	assert_copies(2, 2, "0 of 1 instructions that cannot be emulated can be stepped as copies (there is no more int3");
	assert_int_equal(slots_journaled(&first), 0);
	memset(guest_image_at(&w.image, PADDING), 0xcc, 512);
	assert_copies(3, 3, NULL);
	assert_int_equal(slots_journaled(&first), 1);
	assert_true(first == PADDING + 16);
	for (size_t i = 0; i < 512; i++)
		assert_int_equal(*guest_image_at(&w.image, PADDING + i), 0xcc);
	/* What a patch that is in holds is not taken, whatever it looks like. */
	t->plan = calloc(1, sizeof(*t->plan));
	t->plan->sites = calloc(1, sizeof(*t->plan->sites));
	t->plan->n_sites = 1;
	t->plan->sites[0] = (struct poke_site){ .gva = PADDING + 20, .len = 20 };
	strcpy(t->patch, "q");
	assert_int_equal(patch_list_add(&w.s.patches, t, PATCH_ATTENTION), 0);
	assert_copies(3, 3, NULL);
	assert_int_equal(slots_journaled(&first), 1);
	assert_true(first == PADDING + 48);
	w.caps &= ~(unsigned)BACKEND_STEP;
	assert_copies(2, 2, "(vCPUs cannot be stepped here)");
}

/* The gentlest that is safe; a revert is planned anew, whatever the apply took. */
static void test_as_planned(void **state)
{
	(void)state;
	assert_done(command_patch_apply, HEAD TWO, NULL, NULL, "flipped");
	w.caps &= ~(unsigned)BACKEND_REMAP;
	assert_done(command_patch_revert, HEAD TWO, NULL, NULL, "held");
	there_and_back(HEAD "atomic: false\n" TWO, NULL, NULL, "staged");
	there_and_back(HEAD ONE, NULL, NULL, "staged");
	w.caps &= ~(unsigned)BACKEND_NONSTOP;
	there_and_back(HEAD ONE, NULL, NULL, "stopped");
}

static void assert_refused(command_fn *command, const char *text, const char *mode, const char *traps, enum err_kind kind,
			   const char *rule, const char *words)
{
	struct err e;
	json_t *value;

	assert_true(call(command, text, mode, traps, &value, &e) < 0);
	assert_int_equal(e.kind, kind);
	assert_string_equal(e.rule, rule);
	if (!strstr(e.text, words))
		fail_msg("'%s' lacks '%s'", e.text, words);
	assert_null(value);
}

static void test_refusals(void **state)
{
	command_fn *const commands[] = { command_patch_check, command_patch_apply };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		assert_refused(commands[i], HEAD TWO, "staged", NULL, ERR_REFUSED, "mode", "must change together");
		assert_refused(commands[i], HEAD ONE, "swift", NULL, ERR_USAGE, "mode", "not 'swift'");
		assert_refused(commands[i], HEAD ONE, NULL, "nets", ERR_USAGE, "trap", "not 'nets'");
		assert_refused(commands[i], HEAD ONE, NULL, "hw", ERR_REFUSED, "trap", "mode 'flipped'");
		w.caps &= ~(unsigned)BACKEND_TRAP_HW;
		assert_refused(commands[i], HEAD ONE, "staged", "hw", ERR_REFUSED, "trap", "cannot be trapped");
		w.caps &= ~(unsigned)BACKEND_NONSTOP;
		assert_refused(commands[i], HEAD ONE, "held", NULL, ERR_REFUSED, "mode",
			       "nothing can be written while vCPUs run here; 'stopped' is");
		w.caps |= BACKEND_TRAP_HW | BACKEND_NONSTOP;
	}
	assert_done(command_patch_apply, HEAD TWO, NULL, NULL, "flipped");
	assert_refused(command_patch_revert, HEAD TWO, "staged", NULL, ERR_REFUSED, "mode", "must change together");
	assert_int_equal(*guest_image_at(&w.image, PLACE), 0xc3);
}

/* Excluded ranges are resolved, searched for in a pause, journaled, and of the revert as well. */
static void test_exclusions(void **state)
{
	(void)state;
	there_and_back(HEAD "exclude:\n- { from: do_nothing, to: do_nothing+0x20 }\n" ONE, NULL, NULL, "flipped");
	assert_int_equal(w.pauses, 2);
	assert_refused(command_patch_check, HEAD "exclude:\n- { from: do_nothing, to: do_nothing+0x20 }\n" ONE, "staged",
		       NULL, ERR_REFUSED, "mode", "must change together");
	assert_refused(command_patch_check, HEAD "exclude:\n- { from: nobody_knows, to: do_nothing }\n" ONE, NULL, NULL,
		       ERR_REFUSED, "unknown-symbol", "line 4: exclude: unknown symbol 'nobody_knows'");
	assert_refused(command_patch_check, HEAD "exclude:\n- { from: do_nothing+0x8, to: do_nothing }\n" ONE, NULL, NULL,
		       ERR_USAGE, "patch-file", "must lie behind");
}

/* Somebody is there: the address of a vCPU's own stack is put into the excluded range. */
static void test_exclusions_busy(void **state)
{
	static const char text[] = HEAD "exclude:\n- { from: do_nothing, to: do_nothing+0x20 }\n" ONE;
	uint64_t rip = w.image.regs[0].rip;
	json_t *args = json_pack("{s:s, s:s, s:i}", "vm", "web1", "text", text, "timeout", 1), *value = NULL;
	struct err e = { 0 };

	(void)state;
	w.image.regs[0].rip = IMAGE_FUNC;
	assert_int_equal(command_patch_apply(&w.s, args, &value, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "inside the excluded range"));
	assert_int_equal(*guest_image_at(&w.image, PLACE), 0x90);
	w.image.regs[0].rip = rip;
	assert_int_equal(command_patch_apply(&w.s, args, &value, &e), 0);
	json_decref(value);
	json_decref(args);
}

static json_t *query(command_fn *command, const char *key, const char *value)
{
	json_t *args = json_pack("{s:s, s:s*}", "vm", "web1", key, value), *ret = NULL;
	struct err e = { 0 };

	if (command(&w.s, args, &ret, &e) < 0)
		fail_msg("%s", e.text);
	json_decref(args);
	return ret;
}

static void test_history(void **state)
{
	json_t *last;

	(void)state;
	there_and_back(HEAD ONE, "held", NULL, "held");
	there_and_back(HEAD ONE, "stopped", NULL, "stopped");
	json_t *o = query(command_query_history, "-", NULL), *entries = json_object_get(o, "entries");
	assert_int_equal(json_array_size(entries), 4);
	last = json_array_get(entries, 1);
	assert_string_equal(json_string_value(json_object_get(last, "mode")), "held");
	assert_int_equal(json_integer_value(json_object_get(last, "transaction")), 2);
	assert_int_equal(json_integer_value(json_object_get(last, "kicked")), 2); /* one byte: no tail, two barriers */
	assert_int_equal(json_integer_value(json_object_get(last, "waited_us")), 6);
	assert_null(json_object_get(json_array_get(entries, 3), "kicked"));
	json_decref(o);
}

static void test_trace(void **state)
{
	json_t *args = json_pack("{s:s, s:s, s:i}", "vm", "web1", "format", "json", "transaction", 1), *o = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(command_query_trace(&w.s, args, &o, &e), -ENOENT);
	there_and_back(HEAD ONE, "staged", NULL, "staged");
	assert_int_equal(command_query_trace(&w.s, args, &o, &e), -ENOENT);
	assert_non_null(strstr(e.text, "the last one, 2, is"));
	json_object_set_new(args, "transaction", json_integer(2));
	assert_int_equal(command_query_trace(&w.s, args, &o, &e), 0);
	assert_string_equal(json_string_value(json_object_get(o, "operation")), "revert");
	assert_int_equal(json_integer_value(json_object_get(o, "vcpus")), IMAGE_CPUS);
	assert_int_equal(json_integer_value(json_object_get(o, "lost")), 0);
	json_t *inner = json_loads(json_string_value(json_object_get(o, "text")), 0, NULL);
	assert_true(json_array_size(json_object_get(inner, "traceEvents")) > 8);
	json_decref(inner);
	json_decref(o);
	o = query(command_query_trace, "format", "svg");
	const char *svg = json_string_value(json_object_get(o, "text"));
	assert_non_null(strstr(svg, "web1: revert p, staged, transaction 2"));
	assert_non_null(strstr(svg, ">vCPU 1<"));
	json_decref(o);
	json_object_set_new(args, "format", json_string("gif"));
	assert_int_equal(command_query_trace(&w.s, args, &o, &e), -EINVAL);
	json_decref(args);
}

/* More than a reply can hold: cut and counted, and the reply is one that can be sent. */
static void test_trace_is_cut(void **state)
{
	static const char *const formats[] = { "json", "svg" };

	(void)state;
	there_and_back(HEAD ONE, "staged", NULL, "staged");
	struct timeline *line = timeline_new(TIMELINE_EVENTS_MAX);
	for (unsigned i = 0; i < TIMELINE_EVENTS_MAX; i++)
		timeline_add(line, TIMELINE_TRAP, (int)(i % 2), i, i + 1, IMAGE_FUNC, "\"a rather long label\"\"\"\"\"\"\"");
	for (unsigned i = 0; i < 20; i++)
		timeline_add(line, TIMELINE_STAGE, TIMELINE_ENGINE, i, i + 1, 0, "stage");
	trace_end(&w.s, w.s.patches.first ? w.s.patches.first->begin : &(struct transaction){ .plan = &(struct poke_plan){ 0 } },
		  line, 0);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		json_t *o = query(command_query_trace, "format", formats[i]);
		json_int_t events = json_integer_value(json_object_get(o, "events"));
		char *message = json_dumps(o, 0);

		assert_true(events > 100 && events < TIMELINE_EVENTS_MAX);
		assert_int_equal(events + json_integer_value(json_object_get(o, "lost")), TIMELINE_EVENTS_MAX + 20);
		assert_in_range(strlen(message), 400u << 10, QMP_MESSAGE_MAX - 65536);
		free(message);
		json_decref(o);
	}
}

static bool available(json_t *o, const char *mode)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(o, "modes_detail"), i, row) {
		assert_true(json_string_length(json_object_get(row, "why")) > 0);
		if (strcmp(json_string_value(json_object_get(row, "name")), mode) == 0)
			return json_is_true(json_object_get(row, "available"));
	}
	fail_msg("no mode %s", mode);
	return false;
}

static void test_probe(void **state)
{
	(void)state;
	json_t *o = query(command_vm_probe, "-", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "modes")), 4);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "modes"), 0)), "flipped");
	assert_true(available(o, "held"));
	json_t *first = json_array_get(json_object_get(o, "abilities"), 0);
	assert_string_equal(json_string_value(json_object_get(first, "value")), "reported");
	json_decref(o);
	w.caps &= ~(unsigned)(BACKEND_REMAP | BACKEND_TRAP_INT3);
	o = query(command_vm_probe, "-", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "modes")), 3);
	assert_false(available(o, "flipped"));
	assert_non_null(strstr(json_string_value(json_object_get(json_array_get(json_object_get(o, "modes_detail"), 1), "why")),
			       "at most 4 instructions"));
	json_decref(o);
	w.caps &= ~(unsigned)BACKEND_NONSTOP;
	o = query(command_vm_probe, "-", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "modes")), 1);
	assert_true(available(o, "stopped"));
	json_decref(o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Armed, watched, disarmed; what is no instruction of the kernel is refused before. */
static void test_count(void **state)
{
	json_t *value = NULL, *args = json_pack("{s:s, s:s, s:i}", "vm", "web1", "at", "do_nothing+0x8", "timeout", 30);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(command_vm_count(&w.s, args, &value, &e), 0);
	assert_int_equal(w.arms, 1);
	assert_int_equal(w.pauses + w.stores + w.flips, 0);
	assert_int_equal(json_integer_value(json_object_get(value, "hits")), 0);
	assert_string_equal(json_string_value(json_object_get(value, "ended")), "time");
	assert_true(json_integer_value(json_object_get(value, "elapsed_us")) >= 30000);
	json_decref(value);
	json_object_set_new(args, "at", json_string("do nothing"));
	assert_int_equal(command_vm_count(&w.s, args, &value, &e), -EINVAL);
	json_object_set_new(args, "at", json_string("no_such_function"));
	assert_int_equal(command_vm_count(&w.s, args, &value, &e), -ENOENT);
	assert_string_equal(e.rule, "unknown-symbol");
	json_object_set_new(args, "at", json_string("do_nothing"));
	w.caps &= ~(unsigned)BACKEND_TRAP_HW;
	assert_int_equal(command_vm_count(&w.s, args, &value, &e), -EOPNOTSUPP);
	assert_string_equal(e.rule, "trap");
	assert_int_equal(w.arms, 1);
	json_decref(args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_count, setup, teardown),
		TEST(test_as_asked), TEST(test_slots), TEST(test_as_planned), TEST(test_refusals), TEST(test_exclusions),
		TEST(test_exclusions_busy), TEST(test_history), TEST(test_trace), TEST(test_trace_is_cut),
		TEST(test_probe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
