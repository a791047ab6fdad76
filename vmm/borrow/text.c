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

int borrow_text_lock(struct borrow *b, uint64_t timeout_us, struct err *e)
{
	if (!b->steps.site[BORROW_AT_UNLOCK])
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-function",
			       "text_mutex cannot be taken: this kernel was built without dynamic ftrace");
	int r = borrow_ask(b, "taking text_mutex", BORROW_LOCK_WANTED, 0, NULL, 0, e);
	if (r < 0)
		return r;
	r = borrow_await(b, 1u << BORROW_KEPT, timeout_us, e);
	if (r < 0)
		borrow_abandon(b);
	return r;
}

int borrow_text_unlock(struct borrow *b, uint64_t timeout_us, struct err *e)
{
	pthread_mutex_lock(&b->lock);
	bool held = b->steps.state == BORROW_KEPT, lost = b->steps.state == BORROW_MISSED;
	if (held)
		b->steps.state = BORROW_RELEASED;
	pthread_mutex_unlock(&b->lock);
	if (lost)
		return err_set(e, ERR_ATTENTION, ENODATA, "borrow-missed",
			       "text_mutex was not held all the time: the VMM did not report a trap");
	if (!held)
		return err_set(e, ERR_FAILED, EINVAL, "", "text_mutex is not held");
	b->asked = "giving text_mutex back";
	int r = borrow_wait(b, timeout_us, NULL, e);
	if (r < 0)
		borrow_abandon(b);
	return r;
}
