// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Beginning, ending, calling; see borrow.h. Whatever fails in between, the thread is
 * left to itself, which is always right: must never wait for it in order to end.
 */
#include "vmm/borrow/borrow.h"

#include <errno.h>
#include <string.h>

#include "vmm/borrow/borrow_private.h"
#include "vmm/fault.h"

static void borrow_destroy(struct borrow *b)
{
	if (!b)
		return;
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b);
}
DEFINE_CLEANUP(struct borrow, borrow_destroy)

static int find_all(struct borrow *b, struct err *e)
{
	const struct guest_facts *facts = guest_facts(b->guest);

	borrow_functions_find(b->guest, b->function);
	b->steps.text_start = facts->text_start;
	b->steps.text_end = facts->text_end;
	b->steps.lock_fn = b->function[BORROW_TEXT_LOCK];
	b->steps.sleep_fn = b->function[BORROW_MSLEEP];
	if (guest_symbol_find(b->guest, "text_mutex", &b->mutex, NULL, NULL) < 0)
		b->mutex = 0;
	if (b->steps.lock_fn && b->steps.sleep_fn && b->mutex)
		b->steps.site[BORROW_AT_UNLOCK] = b->function[BORROW_TEXT_UNLOCK];
	return borrow_find_syscall(b, e);
}

int borrow_begin(const struct borrow_config *config, struct borrow **ret, struct err *e)
{
	_cleanup_(borrow_destroy) struct borrow *b = calloc(1, sizeof(*b));
	struct backend_info info;

	if (!b)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->changed, NULL);
	b->backend = config->backend;
	b->guest = config->guest;
	b->hook = config->hook;
	memcpy(b->steps.nonce, config->nonce, sizeof(b->steps.nonce));
	int r = b->backend->ops->info(b->backend, &info, e);
	if (r < 0)
		return r;
	if (!(info.caps & BACKEND_TRAP_HW))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-traps",
			       "no context can be borrowed: this VM has no debug-register traps");
	if (info.state != BACKEND_RUNNING)
		return err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state",
			       "no context can be borrowed: the VM does not run");
	b->road = info.caps & BACKEND_NONSTOP ? &borrow_road_live : &borrow_road_stopped;
	r = find_all(b, e);
	if (r >= 0)
		r = b->road->attach(b, e);
	if (r < 0)
		return r;
	fault_point("borrow-attached");
	*ret = TAKE_PTR(b);
	return 0;
}

int borrow_end(struct borrow *b, struct err *e)
{
	borrow_abandon(b);
	fault_point("borrow-ending");
	int r = b->road->detach(b, e);
	/* Where traps may still be reported somebody has to be there to let them pass. */
	if (!b->attached)
		borrow_destroy(b);
	return r;
}

bool borrow_has(const struct borrow *b, enum borrow_function f)
{
	return f < BORROW_FUNCTION_COUNT && b->function[f];
}

/* Registers of all vCPUs cost little beside a slice, and a reboot is what they tell. */
int borrow_check_guest(struct borrow *b, struct err *e)
{
	_cleanup_free_ struct vcpu_regs *regs = NULL;
	struct backend_info info;
	int r = b->backend->ops->info(b->backend, &info, e);

	if (r < 0)
		return r;
	if (info.state == BACKEND_SHUTDOWN || info.state == BACKEND_BROKEN)
		return err_set(e, ERR_INACTIVE, ENOTCONN, "run-state", "the guest does not run any more");
	regs = calloc(info.vcpus, sizeof(*regs));
	if (!regs)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < info.vcpus; i++) {
		r = b->backend->ops->regs_get(b->backend, i, &regs[i], e);
		if (r < 0)
			return r;
	}
	return guest_revalidate(b->guest, regs, info.vcpus, e);
}

int borrow_ask(struct borrow *b, const char *asked, enum borrow_state want, uint64_t fn, const uint64_t *args, size_t n,
	       struct err *e)
{
	struct borrow_steps *s = &b->steps;
	int r = 0;

	if (n > BORROW_ARGS_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "", "%s: %zu arguments, %d fit", asked, n, BORROW_ARGS_MAX);
	pthread_mutex_lock(&b->lock);
	if (s->state == BORROW_IDLE || s->state == BORROW_DONE || s->state == BORROW_FAILED ||
	    s->state == BORROW_MISSED) {
		memset(s->args, 0, sizeof(s->args));
		if (n)
			memcpy(s->args, args, n * sizeof(*args));
		s->fn = fn;
		s->state = want;
	} else {
		r = err_set(e, ERR_FAILED, EBUSY, "borrowed", "%s: the borrowed thread is busy with %s", asked,
			    b->asked);
	}
	pthread_mutex_unlock(&b->lock);
	if (r == 0)
		b->asked = asked;
	return r;
}

static int timed_out(struct borrow *b, struct err *e)
{
	enum borrow_state state = borrow_state(b);

	if (state == BORROW_WANTED || state == BORROW_LOCK_WANTED)
		return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "borrow-absent",
			       "%s: the agent's thread did not come to its syscall in time; nothing was called",
			       b->asked);
	return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "borrow-slow",
		       "%s has not come back in time; it goes on in the guest", b->asked);
}

int borrow_await(struct borrow *b, unsigned states, uint64_t timeout_us, struct err *e)
{
	uint64_t now = now_us(), deadline = timeout_us < UINT64_MAX - now ? now + timeout_us : UINT64_MAX;
	int r = b->road->wait(b, states | 1u << BORROW_FAILED | 1u << BORROW_MISSED, deadline, e);

	if (r == -ETIMEDOUT)
		return timed_out(b, e);
	if (r < 0)
		return r;
	if (borrow_state(b) == BORROW_MISSED)
		return err_set(e, ERR_FAILED, ENODATA, "borrow-missed",
			       "%s: the VMM did not report a trap; it ran, but how it ended is not known", b->asked);
	if (borrow_state(b) == BORROW_FAILED)
		return err_set(e, ERR_FAILED, -b->steps.error, "borrow-stack",
			       "%s: the thread's stack cannot be accessed", b->asked);
	return 0;
}

int borrow_start(struct borrow *b, enum borrow_function f, const uint64_t *args, size_t n, struct err *e)
{
	if (f >= BORROW_TEXT_LOCK)
		return err_set(e, ERR_USAGE, EINVAL, "", "this function is not called by itself");
	const struct borrow_function_info *info = borrow_function_info(f);
	if (n != info->args)
		return err_set(e, ERR_USAGE, EINVAL, "", "%s takes %u arguments, not %zu", info->name, info->args, n);
	if (!borrow_has(b, f))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-function", "this kernel has no function %s",
			       info->name);
	return borrow_ask(b, info->name, BORROW_WANTED, b->function[f], args, n, e);
}

int borrow_wait(struct borrow *b, uint64_t timeout_us, uint64_t *ret, struct err *e)
{
	int r = borrow_await(b, 1u << BORROW_DONE, timeout_us, e);

	if (r < 0)
		return r;
	if (b->steps.clobbered)
		return err_set(e, ERR_ATTENTION, EBADMSG, "borrow-clobbered",
			       "%s came back with other callee-saved registers than it was given", b->asked);
	if (ret)
		*ret = b->steps.result;
	return 0;
}

void borrow_abandon(struct borrow *b)
{
	pthread_mutex_lock(&b->lock);
	b->steps.state = BORROW_IDLE;
	pthread_mutex_unlock(&b->lock);
}

int borrow_call(struct borrow *b, enum borrow_function f, const uint64_t *args, size_t n, uint64_t timeout_us,
		uint64_t *ret, struct err *e)
{
	int r = borrow_start(b, f, args, n, e);

	if (r < 0)
		return r;
	r = borrow_wait(b, timeout_us, ret, e);
	if (r < 0)
		borrow_abandon(b);
	return r;
}

/* kernel/rcu: without CONFIG_TASKS_RCU the kernel defines the one as the other. */
int borrow_rcu_tasks(struct borrow *b, uint64_t timeout_us, struct err *e)
{
	enum borrow_function f = borrow_has(b, BORROW_SYNCHRONIZE_RCU_TASKS) ? BORROW_SYNCHRONIZE_RCU_TASKS
									     : BORROW_SYNCHRONIZE_RCU;

	if (borrow_state(b) == BORROW_KEPT)
		return borrow_call_kept(b, f, timeout_us, e);
	return borrow_call(b, f, NULL, 0, timeout_us, NULL, e);
}

int borrow_let_run(struct borrow *b, uint64_t us, struct err *e)
{
	int r = b->road->wait(b, 0, now_us() + us, e);

	return r == -ETIMEDOUT ? 0 : r;
}

void borrow_stats(struct borrow *b, struct borrow_stats *ret)
{
	pthread_mutex_lock(&b->lock);
	*ret = b->steps.stats;
	ret->stopped_us = b->stopped_us;
	ret->longest_stop_us = b->longest_stop_us;
	pthread_mutex_unlock(&b->lock);
}
