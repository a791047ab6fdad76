// SPDX-License-Identifier: GPL-2.0-or-later
/* The states of a borrowed thread alone, on a stack that says anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "vmm/borrow/steps.h"

struct stack {
	struct borrow_memory ops;
	uint64_t words[0x4000 / 8];
	bool gone;
};

#define STACK 0xffffc90000010000u

static uint8_t *stack_at(struct borrow_memory *m, uint64_t gva, size_t len)
{
	struct stack *s = container_of(m, struct stack, ops);

	return s->gone || gva < STACK || gva > STACK + 0x4000 - len ? NULL : (uint8_t *)s->words + (gva - STACK);
}

static int stack_read(struct borrow_memory *m, uint64_t gva, void *buf, size_t len)
{
	uint8_t *at = stack_at(m, gva, len);

	if (at)
		memcpy(buf, at, len);
	return at ? 0 : -EFAULT;
}

static int stack_write(struct borrow_memory *m, uint64_t gva, const void *buf, size_t len)
{
	uint8_t *at = stack_at(m, gva, len);

	if (at)
		memcpy(at, buf, len);
	return at ? 0 : -EFAULT;
}

static struct vcpu_regs entry_regs(void)
{
	struct vcpu_regs r = { .rip = 0xffffffff81001000, .rflags = 0x10202, .cs = 0x10 };

	r.gpr[VCPU_RSP] = STACK + 0x3000;
	r.gpr[VCPU_RDI] = STACK + 0x4000 - 168;
	return r;
}

static void steps_init(struct borrow_steps *s, struct stack *m)
{
	*s = (struct borrow_steps){
		.site = { 0xffffffff81001000, 0xffffffff81001010, 0xffffffff81002000 },
		.text_start = 0xffffffff81000000,
		.text_end = 0xffffffff81100000,
		.nonce = { 1, 2 },
		.fn = 0xffffffff81003000,
		.args = { 11, 12, 13, 14, 15, 16 },
		.state = BORROW_WANTED,
	};
	memset(m, 0, sizeof(*m));
	m->ops = (struct borrow_memory){ stack_read, stack_write };
	uint64_t *pt = m->words + (0x4000 - 168) / 8;
	pt[12] = 1;
	pt[7] = 2;
	pt[15] = BORROW_SYSCALL;
	pt[17] = 0x33;
	m->words[0x3000 / 8] = 0xffffffff81000480;
}

static void test_steps_call(void **state)
{
	struct vcpu_regs r = entry_regs();
	struct borrow_steps s;
	struct stack m;

	(void)state;
	steps_init(&s, &m);
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), BORROW_GO);
	assert_int_equal(s.state, BORROW_CALLED);
	assert_true(r.rip == s.fn && r.gpr[VCPU_RSP] == STACK + 0x2ff8 && r.rflags == 0x202 && r.gpr[VCPU_RAX] == 0);
	assert_true(r.gpr[VCPU_RDI] == 11 && r.gpr[VCPU_RCX] == 14 && r.gpr[VCPU_R9] == 16);
	assert_true(m.words[0x2ff8 / 8] == s.site[BORROW_AT_LEAVE]);
	/* others at the way out: another stack, user mode, another return address */
	struct vcpu_regs other = { .rip = s.site[BORROW_AT_LEAVE], .cs = 0x10 };
	other.gpr[VCPU_RSP] = STACK + 0x2ff8;
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &other), BORROW_PASS);
	other.gpr[VCPU_RSP] = STACK + 0x3000;
	other.cs = 0x33;
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &other), BORROW_PASS);
	other.cs = 0x10;
	m.words[0x3000 / 8]++;
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &other), BORROW_PASS);
	m.words[0x3000 / 8]--;
	assert_int_equal(s.state, BORROW_CALLED);
	other.gpr[VCPU_RAX] = 77;
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &other), BORROW_GO);
	assert_true(s.state == BORROW_DONE && s.result == 77 && !s.clobbered && s.stats.foreign == 3);
	assert_true(other.rip == 0xffffffff81000480 && other.gpr[VCPU_RSP] == STACK + 0x3008 &&
		    other.gpr[VCPU_RAX] == 0);
	other.rip = 0xffffffff81000123;
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &other), BORROW_NOT_OURS);
}

/* Each way in which an entry can be wrong on its own keeps hands off. */
static void test_steps_entry(void **state)
{
	(void)state;
	for (int bad = 0; bad < 13; bad++) {
		struct vcpu_regs r = entry_regs(), before;
		struct borrow_steps s;
		struct stack m;
		steps_init(&s, &m);
		uint64_t *pt = m.words + (0x4000 - 168) / 8;
		switch (bad) {
		case 0:
			r.cs = 0x33;
			break;
		case 1:
			r.rflags &= ~0x200ull;
			break;
		case 2:
			r.gpr[VCPU_RSP] += 4;
			break;
		case 3:
			r.gpr[VCPU_RDI] += 8;
			break;
		case 4:
			r.gpr[VCPU_RDI] = r.gpr[VCPU_RSP] - 8;
			break;
		case 5:
			r.gpr[VCPU_RDI] += 0x4000;
			break;
		case 6:
			r.gpr[VCPU_RSP] -= 0x1008;
			m.words[0x1ff8 / 8] = m.words[0x3000 / 8];
			break;
		case 7:
			pt[12] = 0;
			break;
		case 8:
			pt[7] = 0;
			break;
		case 9:
			pt[15]++;
			break;
		case 10:
			pt[17] = 0x10;
			break;
		case 11:
			m.words[0x3000 / 8] = 0xffffffff80ffffff;
			break;
		case 12:
			m.gone = true;
			break;
		}
		before = r;
		assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), BORROW_PASS);
		assert_memory_equal(&r, &before, sizeof(r));
		assert_int_equal(s.state, BORROW_WANTED);
	}
}

/* A stack that cannot be written any more: said so, and the thread goes its way. */
static void test_steps_stack_gone(void **state)
{
	struct vcpu_regs r = entry_regs(), before;
	struct borrow_steps s;
	struct stack m;

	(void)state;
	steps_init(&s, &m);
	s.state = BORROW_LOCKING;
	s.saved.gpr[VCPU_RSP] = STACK + 8;
	s.back = m.words[1] = 0xffffffff81000480;
	r.rip = s.site[BORROW_AT_UNLOCK];
	r.gpr[VCPU_RSP] = STACK; /* one word is left below, and it would take two */
	before = r;
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), BORROW_PASS);
	assert_memory_equal(&r, &before, sizeof(r));
	assert_true(s.state == BORROW_FAILED && s.error == -EFAULT);
}

/* Traps that are not reported: noticed at the thread's next entry at the latest, and never taken for a result. */
static void test_steps_missed(void **state)
{
	static const enum borrow_state inside[] = { BORROW_CALLED,	BORROW_LOCKING,	 BORROW_KEPT,	BORROW_KEPT_WANTED,
						    BORROW_KEPT_CALLED, BORROW_RELEASED, BORROW_LEAVING };

	(void)state;
	for (size_t i = 0; i < sizeof(inside) / sizeof(*inside); i++) {
		struct vcpu_regs r = entry_regs(), before = r, other = r;
		struct borrow_steps s;
		struct stack m;
		steps_init(&s, &m);
		s.saved = r;
		s.back = 0xffffffff81000480;
		s.state = inside[i];
		s.saved.gpr[VCPU_RDI] += 0x4000; /* another thread that has the nonce */
		assert_int_equal(borrow_steps_hit(&s, &m.ops, &other), BORROW_PASS);
		assert_int_equal(s.state, inside[i]);
		s.saved.gpr[VCPU_RDI] -= 0x4000;
		assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), BORROW_PASS);
		assert_int_equal(s.state, BORROW_MISSED);
		assert_memory_equal(&r, &before, sizeof(r));
		r.rip = s.site[BORROW_AT_LEAVE];
		assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), BORROW_PASS);
		/* the unlock function's trap was missed: the mutex is not held any more */
		s.state = inside[i];
		int want = inside[i] >= BORROW_LOCKING && inside[i] <= BORROW_KEPT_CALLED ? BORROW_PASS : BORROW_GO;
		assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), want);
		assert_int_equal(s.state, want == BORROW_GO ? BORROW_DONE : BORROW_MISSED);
	}
}

/* A function with text_mutex held: it returns to the unlock function, as a sleep does, and is slept after. */
static void test_steps_kept(void **state)
{
	struct vcpu_regs r = entry_regs();
	struct borrow_steps s;
	struct stack m;

	(void)state;
	steps_init(&s, &m);
	s.saved = r;
	s.back = 0xffffffff81000480;
	s.sleep_fn = 0xffffffff81004000;
	s.state = BORROW_KEPT_WANTED;
	r.rip = s.site[BORROW_AT_UNLOCK];
	r.gpr[VCPU_RSP] = STACK + 0x2ff8;
	assert_false(borrow_steps_inside(&(struct borrow_steps){ .state = BORROW_DONE }));
	assert_true(borrow_steps_inside(&s) && borrow_steps_holds(&s));
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), BORROW_GO);
	assert_true(s.state == BORROW_KEPT_CALLED && r.rip == s.fn && r.gpr[VCPU_RSP] == STACK + 0x2ff0);
	assert_true(m.words[0x2ff0 / 8] == s.site[BORROW_AT_UNLOCK] && r.gpr[VCPU_RDI] == 11);
	r.rip = s.site[BORROW_AT_UNLOCK];
	r.gpr[VCPU_RSP] = STACK + 0x2ff8;
	r.gpr[VCPU_RAX] = 78;
	assert_int_equal(borrow_steps_hit(&s, &m.ops, &r), BORROW_GO);
	assert_true(s.state == BORROW_KEPT && s.result == 78 && s.stats.calls == 1 && r.rip == s.sleep_fn);
	assert_true(r.gpr[VCPU_RDI] == BORROW_KEEP_MS && m.words[0x2ff0 / 8] == s.site[BORROW_AT_UNLOCK]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps_call),
		cmocka_unit_test(test_steps_entry),
		cmocka_unit_test(test_steps_stack_gone),
		cmocka_unit_test(test_steps_missed),
		cmocka_unit_test(test_steps_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
