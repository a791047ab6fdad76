// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * text_mutex, held by the borrowed thread. The kernel's ftrace has a pair of functions
 * without arguments that take it and give it back (arch/x86/kernel/ftrace.c); only a
 * function without arguments can stand on the stack as a return address and do the
 * right thing when we are not there. Between the two the thread sleeps in short
 * stretches, uninterruptibly, so that a signal has to wait. Must never return with
 * the mutex held and nobody to prolong it.
 */
#include <errno.h>

#include "vmm/borrow/borrow_private.h"

#define MUTEX_FLAGS 7ull /* low bits of struct mutex.owner, its first member (kernel/locking/mutex.c) */

#define BIT(state) (1u << (state))

static int owner_read(struct borrow *b, uint64_t *ret, struct err *e)
{
	int r = guest_read(b->guest, b->mutex, ret, sizeof(*ret), e);

	*ret &= ~MUTEX_FLAGS;
	return r;
}

int borrow_text_held(struct borrow *b, struct err *e)
{
	uint64_t owner;
	int r = b->owner ? owner_read(b, &owner, e) : 0;

	return r < 0 ? r : b->owner && owner == b->owner;
}

uint64_t borrow_text_owner(const struct borrow *b)
{
	return b->owner;
}

/* The mutex must agree with what the traps say; from then on it is the mutex that is asked. */
static int owner_learn(struct borrow *b, struct err *e)
{
	int r = owner_read(b, &b->owner, e);

	if (r >= 0 && !b->owner)
		r = err_set(e, ERR_FAILED, EBADMSG, "borrow-text", "text_mutex was taken, but its owner is nobody");
	return r;
}

static int lock_await(struct borrow *b, uint64_t come_us, uint64_t timeout_us, struct err *e)
{
	int r = borrow_await(b, BIT(BORROW_LOCKING) | BIT(BORROW_KEPT), come_us, e);

	if (r >= 0)
		r = borrow_await(b, BIT(BORROW_KEPT), timeout_us, e);
	if (r == -ETIMEDOUT && borrow_state(b) == BORROW_LOCKING)
		return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "guest-poking",
			       "text_mutex was not to be had in time: the guest's kernel is changing its own text");
	return r < 0 ? r : owner_learn(b, e);
}

int borrow_text_lock(struct borrow *b, uint64_t come_us, uint64_t timeout_us, struct err *e)
{
	if (!b->steps.site[BORROW_AT_UNLOCK])
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-function",
			       "text_mutex cannot be taken: this kernel was built without dynamic ftrace");
	int r = borrow_ask(b, "taking text_mutex", BORROW_LOCK_WANTED, 0, NULL, 0, e);
	if (r < 0)
		return r;
	b->owner = 0;
	r = lock_await(b, come_us < timeout_us ? come_us : timeout_us, timeout_us, e);
	if (r < 0)
		borrow_abandon(b);
	return r;
}

int borrow_text_spare(struct borrow *b, struct err *e)
{
	if (!b->road->spare || b->spared)
		return 0;
	if (borrow_state(b) != BORROW_KEPT)
		return err_set(e, ERR_FAILED, EINVAL, "", "text_mutex is not held");
	int r = b->road->spare(b, true, e);
	b->spared = r >= 0;
	return r;
}

static int all_traps(struct borrow *b, struct err *e)
{
	int r = b->spared ? b->road->spare(b, false, e) : 0;

	if (r >= 0)
		b->spared = false;
	return r;
}

int borrow_text_unlock(struct borrow *b, uint64_t timeout_us, struct err *e)
{
	int r = all_traps(b, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&b->lock);
	bool held = borrow_steps_holds(&b->steps), lost = b->steps.state == BORROW_MISSED;
	if (held)
		b->steps.state = BORROW_RELEASED;
	pthread_mutex_unlock(&b->lock);
	b->owner = 0;
	if (lost)
		return err_set(e, ERR_ATTENTION, ENODATA, "borrow-missed",
			       "text_mutex was not held all the time: the VMM did not report a trap");
	if (!held)
		return err_set(e, ERR_FAILED, EINVAL, "", "text_mutex is not held");
	b->asked = "giving text_mutex back";
	r = borrow_wait(b, timeout_us, NULL, e);
	if (r < 0)
		borrow_abandon(b);
	return r;
}

static int kept_ask(struct borrow *b, enum borrow_function f, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&b->lock);
	if (b->steps.state == BORROW_KEPT) {
		b->steps.fn = b->function[f];
		b->steps.state = BORROW_KEPT_WANTED;
	} else {
		r = err_set(e, ERR_FAILED, EBUSY, "borrowed", "the borrowed thread is busy with %s", b->asked);
	}
	pthread_mutex_unlock(&b->lock);
	return r;
}

/* What was not begun yet is not wanted any more; what was will end, and the mutex be kept as before. */
static void kept_give_up(struct borrow *b)
{
	pthread_mutex_lock(&b->lock);
	if (b->steps.state == BORROW_KEPT_WANTED)
		b->steps.state = BORROW_KEPT;
	pthread_mutex_unlock(&b->lock);
}

int borrow_call_kept(struct borrow *b, enum borrow_function f, uint64_t timeout_us, struct err *e)
{
	if (!borrow_has(b, f))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-function", "this kernel has no function %s",
			       borrow_function_info(f)->name);
	int r = kept_ask(b, f, e);
	if (r < 0)
		return r;
	b->asked = borrow_function_info(f)->name;
	r = borrow_await(b, BIT(BORROW_KEPT), timeout_us, e);
	if (r < 0)
		kept_give_up(b);
	return r;
}
