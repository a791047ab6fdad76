// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker finds an open transaction: whatever state the journal names and
 * whatever the bytes are, the guest ends all-old or all-new, runs if it ran
 * before, and the journal is closed. Foreign bytes are never written over.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/fake/fake_backend.h"
#include "vmm/worker/recover.h"

static const uint8_t old_bytes[6] = { 0x0f, 0x1f, 0x44, 0x00, 0x00, 0x55 };
static const uint8_t new_bytes[6] = { 0xb8, 0x92, 0x10, 0x00, 0x00, 0xc3 };

enum content { ALL_OLD, ALL_NEW, FIRST_NEW, TORN, FOREIGN };

struct world {
	char dir[64];
	int peer;
	struct fake_backend fake;
	struct backend_ops ops;
	int (*plain_info)(struct backend *b, struct backend_info *ret, struct err *e);
	int (*plain_pause)(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e);
	pid_t pid; /* of the VMM; 0: unknown */
	struct session s;
};

static struct world w;

static int no_event(struct backend *b, enum backend_event_kind *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = BACKEND_EVENT_NONE;
	return 0;
}

static int resume_orphan(struct backend *b, struct err *e)
{
	(void)e;
	container_of(b, struct fake_backend, base)->running = true;
	return 0;
}

static int info_with_pid(struct backend *b, struct backend_info *ret, struct err *e)
{
	int r = w.plain_info(b, ret, e);

	ret->pid = r < 0 ? 0 : w.pid;
	return r;
}

static void no_close(struct backend *b)
{
	(void)b;
}

static uint8_t *site_at(size_t i)
{
	return w.fake.ram + 0x100 + i * 0x200;
}

static void fill(enum content content)
{
	for (size_t i = 0; i < 2; i++)
		memcpy(site_at(i), content == ALL_NEW || (content == FIRST_NEW && i == 0) ? new_bytes : old_bytes, 6);
	if (content == TORN)
		memcpy(site_at(1), new_bytes, 3);
	if (content == FOREIGN)
		site_at(1)[2] = 0xcc;
}

static struct transaction *transaction(enum operation operation)
{
	struct transaction *t = calloc(1, sizeof(*t));
	bool apply = operation == OPERATION_APPLY;

	t->number = 3;
	t->operation = operation;
	strcpy(t->patch, "p");
	t->plan = calloc(1, sizeof(*t->plan));
	t->plan->sites = calloc(2, sizeof(*t->plan->sites));
	t->plan->n_sites = 2;
	for (size_t i = 0; i < 2; i++) {
		struct poke_site *site = &t->plan->sites[i];

		site->gpa = FAKE_GPA + 0x100 + i * 0x200;
		site->gva = 0xffffffff81000000 + i * 0x200;
		site->len = site->split = 6;
		site->boundaries = site->new_boundaries = 0x21;
		memcpy(site->old_bytes, apply ? old_bytes : new_bytes, 6);
		memcpy(site->new_bytes, apply ? new_bytes : old_bytes, 6);
	}
	return t;
}

static void begin(enum operation operation, enum poke_state state, bool ran, bool runs, enum content content)
{
	struct err e = { 0 };
	int pair[2];

	memset(&w, 0, sizeof(w));
	strcpy(w.dir, "/tmp/vmpoke-recover-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	w.peer = pair[1];
	fake_backend_init(&w.fake, 2, runs);
	w.ops = *w.fake.base.ops;
	w.ops.event = no_event;
	w.plain_info = w.ops.info;
	w.plain_pause = w.ops.pause;
	w.ops.info = info_with_pid;
	w.ops.resume_orphan = resume_orphan;
	w.ops.close = no_close;
	w.fake.base.ops = &w.ops;
	fill(content);
	session_init(&w.s);
	w.s.target.vm = "web1";
	w.s.state_dir = w.dir;
	w.s.control = control_new(pair[0]);
	assert_int_equal(journal_open(w.dir, "web1", 0, &w.s.journal, &e), 0);
	w.s.backend = &w.fake.base;
	assert_int_equal(w.ops.info(w.s.backend, &w.s.info, &e), 0);
	if (operation == OPERATION_REVERT)
		assert_int_equal(patch_list_add(&w.s.patches, transaction(OPERATION_APPLY), PATCH_APPLIED), 0);
	w.s.open = transaction(operation);
	w.s.open_state = state;
	w.s.open_running = ran;
}

static void end(void)
{
	char command[128];

	session_clear(&w.s);
	journal_close(w.s.journal);
	control_free(w.s.control);
	close(w.peer);
	snprintf(command, sizeof(command), "rm -rf %s", w.dir);
	assert_int_equal(system(command), 0);
}

struct last {
	struct journal_visitor visitor;
	char result[16];
};

static int keep_result(struct journal_visitor *v, json_t *record)
{
	const char *result = json_string_value(json_object_get(record, "result"));

	if (result)
		snprintf(container_of(v, struct last, visitor)->result, 16, "%s", result);
	return 0;
}

static void assert_journal_ends(const char *result)
{
	struct last last = { .visitor.record = keep_result };
	struct err e = { 0 };

	assert_int_equal(journal_replay(w.s.journal, &last.visitor, &e), 0);
	assert_string_equal(last.result, result);
}

static bool all(const uint8_t *bytes)
{
	return memcmp(site_at(0), bytes, 6) == 0 && memcmp(site_at(1), bytes, 6) == 0;
}

static void one_case(enum operation operation, enum poke_state state, enum content content, bool ran)
{
	bool over = state == POKE_DONE || state == POKE_UNDONE || state == POKE_PLANNED;
	bool apply = operation == OPERATION_APPLY;
	/* Only a whole change counts as made; everything else goes back to what was before. */
	bool made = content == (apply ? ALL_NEW : ALL_OLD) && state != POKE_PLANNED;
	struct err e = { 0 };

	begin(operation, state, ran, ran && over, content);
	assert_int_equal(recover_session(&w.s, &e), 0);
	assert_null(w.s.open);
	assert_true(all(made == apply ? new_bytes : old_bytes));
	assert_int_equal(w.fake.running, ran);
	assert_int_equal(w.fake.writes_while_running, 0);
	assert_journal_ends(!made ? "undone" : apply ? "applied" : "reverted");
	assert_int_equal(patch_list_count(&w.s.patches, PATCH_APPLIED), made == apply);
	end();
}

/* The guest has gone on with its data: what its text holds says how far we came, and nothing is written. */
static void test_data_of_the_guest(void **state)
{
	static const struct {
		enum content content;
		const char *result;
	} cases[] = { { ALL_NEW, "applied" }, { ALL_OLD, "undone" }, { TORN, "lost" /* the fake has no kernel */ } };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(OPERATION_APPLY, POKE_DONE, true, true, cases[i].content);
		w.s.open->plan->sites[0].data = true;
		memset(site_at(0), 0x77, 6);
		assert_int_equal(recover_session(&w.s, &e), 0);
		assert_journal_ends(cases[i].result);
		assert_true(site_at(0)[0] == 0x77 && w.fake.running);
		assert_int_equal(w.fake.writes, 0);
		end();
	}
}

static void test_every_state(void **state)
{
	static const struct {
		enum poke_state state;
		unsigned contents; /* what memory can hold then, for an apply */
	} cases[] = {
		{ POKE_PLANNED, 1 << ALL_OLD },
		{ POKE_PAUSED, 1 << ALL_OLD },
		{ POKE_WRITTEN, 1 << ALL_OLD | 1 << ALL_NEW | 1 << FIRST_NEW | 1 << TORN },
		{ POKE_VERIFIED, 1 << ALL_NEW },
		{ POKE_DONE, 1 << ALL_NEW },
		{ POKE_UNDONE, 1 << ALL_OLD },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int content = ALL_OLD; content <= TORN; content++) {
			if (!(cases[i].contents & 1u << content))
				continue;
			/* The revert of a patch goes the other way through the same contents. */
			int mirrored = content == ALL_OLD ? ALL_NEW : content == ALL_NEW ? ALL_OLD : content;
			for (int ran = 0; ran < 2; ran++) {
				one_case(OPERATION_APPLY, cases[i].state, (enum content)content, ran);
				one_case(OPERATION_REVERT, cases[i].state, (enum content)mirrored, ran);
			}
		}
	}
}

/* No kernel is found in the fake's RAM: the guest rebooted, and nothing is written. */
static void test_foreign_bytes(void **state)
{
	struct err e = { 0 };
	uint8_t before[FAKE_RAM_SIZE];

	(void)state;
	begin(OPERATION_APPLY, POKE_WRITTEN, true, false, FOREIGN);
	memcpy(before, w.fake.ram, sizeof(before));
	assert_int_equal(recover_session(&w.s, &e), 0);
	assert_memory_equal(before, w.fake.ram, sizeof(before));
	assert_true(w.fake.running);
	assert_journal_ends("lost");
	assert_null(w.s.patches.first);
	end();
}

static void test_other_process(void **state)
{
	struct err e = { 0 };

	(void)state;
	begin(OPERATION_APPLY, POKE_WRITTEN, true, true, FIRST_NEW);
	w.s.open->boot.pid = 4711;
	w.s.info.pid = w.pid = 4712;
	assert_int_equal(recover_session(&w.s, &e), 0);
	assert_memory_equal(site_at(0), new_bytes, 6);
	assert_int_equal(w.fake.writes, 0);
	assert_journal_ends("lost");
	end();
}

/* That QEMU's process cannot be seen just now does not mean it is another one. */
static void test_unknown_process(void **state)
{
	struct err e = { 0 };

	(void)state;
	begin(OPERATION_APPLY, POKE_WRITTEN, true, false, FIRST_NEW);
	w.s.open->boot.pid = 4711;
	assert_int_equal(recover_session(&w.s, &e), 0);
	assert_true(all(old_bytes));
	assert_journal_ends("undone");
	end();
}

static int gone(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	(void)b;
	(void)vcpu;
	(void)ret;
	return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the monitor is gone");
}

/* A monitor that dies while foreign bytes are looked into proves no reboot. */
static void test_foreign_and_gone(void **state)
{
	struct err e = { 0 };

	(void)state;
	begin(OPERATION_APPLY, POKE_WRITTEN, true, false, FOREIGN);
	assert_int_equal(patch_list_add(&w.s.patches, transaction(OPERATION_APPLY), PATCH_APPLIED), 0);
	w.ops.regs_get = gone;
	assert_int_equal(recover_session(&w.s, &e), -ENOTCONN);
	assert_non_null(w.s.open);
	assert_int_equal(patch_list_count(&w.s.patches, PATCH_APPLIED), 1);
	end();
}

static int pause_and_die(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	int r = w.plain_pause(b, hook, ret, e);

	w.fake.paused = false; /* as QEMU is once nobody holds its stub: stopped, found so by the next */
	return r < 0 ? r : err_set(e, ERR_INACTIVE, ENOTCONN, "", "died");
}

/* Recovery dies while the VM is stopped by it: the next one must not take that for the operator's doing. */
static void test_recovery_dies(void **state)
{
	static const enum poke_state states[] = { POKE_DONE, POKE_UNDONE, POKE_WRITTEN };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		json_t *record;

		begin(OPERATION_APPLY, states[i], true, states[i] != POKE_WRITTEN, ALL_OLD);
		record = transaction_to_json(w.s.open);
		assert_int_equal(journal_append(w.s.journal, record, false, &e), 0);
		w.ops.pause = pause_and_die;
		assert_int_equal(recover_session(&w.s, &e), -ENOTCONN);
		assert_false(w.fake.running);
		w.ops.pause = w.plain_pause;
		transaction_free(TAKE_PTR(w.s.open));
		assert_int_equal(session_load(&w.s, &e), 0); /* the next worker */
		assert_int_equal(recover_session(&w.s, &e), 0);
		assert_true(w.fake.running);
		end();
	}
}

static bool peer_says(const char *word)
{
	char buf[8192];
	ssize_t n = recv(w.peer, buf, sizeof(buf) - 1, MSG_DONTWAIT | MSG_PEEK);

	buf[n < 0 ? 0 : n] = '\0';
	return strstr(buf, word);
}

/* The daemon ends a worker that says anything before WORKER_READY. */
static void test_ready_comes_first(void **state)
{
	struct err e = { 0 };

	(void)state;
	begin(OPERATION_REVERT, POKE_WRITTEN, true, false, ALL_OLD);
	assert_int_equal(recover_session(&w.s, &e), 0);
	assert_false(peer_says("PATCH_STATUS_CHANGE"));
	session_tell_ready(&w.s);
	assert_true(peer_says("\"WORKER_READY\""));
	assert_true(peer_says("PATCH_STATUS_CHANGE"));
	end();
}

/* The guest booted anew unseen, at the same place: its text says so. */
static void test_gone_unseen(void **state)
{
	static const struct {
		enum content content;
		enum patch_status status;
	} cases[] = {
		{ ALL_OLD, PATCH_LOST },     { ALL_NEW, PATCH_APPLIED }, { FIRST_NEW, PATCH_APPLIED },
		{ FOREIGN, PATCH_APPLIED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(OPERATION_REVERT, POKE_PLANNED, true, true, cases[i].content);
		session_lose_if_gone(&w.s, w.s.patches.first);
		assert_int_equal(w.s.patches.first->status, cases[i].status);
		end();
	}
}

static void test_other_kernel(void **state)
{
	_cleanup_(transaction_free) struct transaction *t = transaction(OPERATION_APPLY);
	struct guest_facts f = { .base = 0xffffffff9a200000, .build_id_hex = "abcd",
				 .phys_base = (int64_t)(FAKE_GPA + 0x100 - 0x1000000) };

	(void)state;
	t->boot = (struct boot){ .base = f.base, .build_id = "abcd" };
	assert_false(session_other_kernel(t, &f));
	f.phys_base += 0x200000; /* the same virtual address, other memory */
	assert_true(session_other_kernel(t, &f));
	f.phys_base -= 0x200000;
	f.base += 0x200000;
	assert_true(session_other_kernel(t, &f));
}

/* Each backend call fails once: the transaction stays open or is closed rightly, and a second try closes it. */
static void test_failing_calls(void **state)
{
	(void)state;
	for (unsigned call = 1; call < 30; call++) {
		struct err e = { 0 };

		begin(OPERATION_APPLY, POKE_WRITTEN, true, false, FIRST_NEW);
		w.fake.fail_at = w.fake.calls + call;
		/* What the session does: it lets go of the backend (which lets the VM go) and reaches it anew. */
		if (recover_session(&w.s, &e) < 0) {
			w.fake.paused = false;
			assert_int_equal(recover_session(&w.s, &e), 0);
		}
		assert_null(w.s.open);
		assert_true(all(old_bytes));
		assert_true(w.fake.running);
		assert_journal_ends("undone");
		end();
	}
}

/* A reader that died in the middle left the VM stopped. */
static void test_orphan_hold(void **state)
{
	struct err e = { 0 };

	(void)state;
	begin(OPERATION_APPLY, POKE_PLANNED, true, false, ALL_OLD);
	transaction_free(TAKE_PTR(w.s.open));
	w.s.orphan_hold = true;
	w.s.info.state = BACKEND_PAUSED;
	assert_int_equal(recover_session(&w.s, &e), 0);
	assert_true(w.fake.running);
	assert_false(w.s.orphan_hold);
	end();
}

/* One that died while it counted left a trap in the VMM as well: it goes when a held VM is let go. */
static void test_orphan_traps(void **state)
{
	(void)state;
	for (int running = 0; running < 2; running++) {
		struct err e = { 0 };

		begin(OPERATION_APPLY, POKE_PLANNED, true, running, ALL_OLD);
		transaction_free(TAKE_PTR(w.s.open));
		assert_int_equal(session_hold_traps(&w.s, &e), 0);
		w.s.held = false;
		assert_int_equal(session_load(&w.s, &e), 0); /* the next worker */
		assert_true(w.s.orphan_hold && w.s.orphan_traps);
		assert_int_equal(recover_session(&w.s, &e), 0);
		assert_true(w.fake.running);
		assert_int_equal(w.fake.n_events > 1 && w.fake.events[0] == FAKE_PAUSED, running);
		assert_false(w.s.orphan_hold || w.s.orphan_traps || w.s.held);
		assert_int_equal(session_load(&w.s, &e), 0);
		assert_false(w.s.orphan_hold || w.s.orphan_traps);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_of_the_guest),
		cmocka_unit_test(test_every_state), cmocka_unit_test(test_foreign_bytes),
		cmocka_unit_test(test_other_process), cmocka_unit_test(test_failing_calls),
		cmocka_unit_test(test_orphan_hold), cmocka_unit_test(test_orphan_traps),
		cmocka_unit_test(test_unknown_process),
		cmocka_unit_test(test_foreign_and_gone), cmocka_unit_test(test_recovery_dies),
		cmocka_unit_test(test_ready_comes_first), cmocka_unit_test(test_gone_unseen),
		cmocka_unit_test(test_other_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
