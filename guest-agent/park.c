// SPDX-License-Identifier: GPL-2.0-or-later
/* The parking thread; see park.h. Must not make a system call that changes anything. */
#include "guest-agent/park.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest-agent/agent.h"

/*
 * Both take a process id, find none with that of a nonce (or a real one: they only
 * read) and return. Their functions exist in every kernel since 4.17, when system
 * calls began to take a struct pt_regs. The kernel names them by architecture.
 */
#if defined(__x86_64__)
#define KERNEL_FUNCTION(name) "__x64_sys_" name
#elif defined(__aarch64__)
#define KERNEL_FUNCTION(name) "__arm64_sys_" name
#else
#error "which name has a system call's function here?"
#endif

static const struct {
	long nr;
	const char *function;
	bool nonces_third; /* the nonces are arguments three and four */
} calls[AGENT_PARK_CALL_COUNT] = {
	[AGENT_PARK_GETPGID] = { SYS_getpgid, KERNEL_FUNCTION("getpgid"), false },
	[AGENT_PARK_GETSID] = { SYS_getsid, KERNEL_FUNCTION("getsid"), false },
	/* What vmm/borrow waits for: the rarest of them. -1 is no policy; the kernel looks at nothing else. */
	[AGENT_PARK_BORROW] = { SYS_sched_get_priority_min, KERNEL_FUNCTION("sched_get_priority_min"), true },
};

static void sleep_ms(uint32_t ms)
{
	struct timespec ts = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

/* Makes one call; the lock is not held, the host may stop us in it. */
static void one_call(struct park *p, uint64_t nonce0, uint64_t nonce1, uint64_t count, unsigned call)
{
	pthread_mutex_unlock(&p->lock);
	/* All six, so that no register holds what the C library left there. */
	if (calls[call].nonces_third)
		(void)syscall(calls[call].nr, -1L, 0L, (long)nonce0, (long)nonce1, 0L, 0L);
	else
		(void)syscall(calls[call].nr, (long)nonce0, (long)nonce1, (long)count, 0L, 0L, 0L);
	pthread_mutex_lock(&p->lock);
}

static void pause_for(struct park *p)
{
	uint32_t ms = p->interval_ms;

	pthread_mutex_unlock(&p->lock);
	sleep_ms(ms);
	pthread_mutex_lock(&p->lock);
}

static void parked(struct park *p)
{
	while (!p->stop) {
		if (agent_now_ms() >= p->ends_at) {
			p->why = AGENT_PARK_TIMEOUT;
			break;
		}
		one_call(p, p->state.nonce[0], p->state.nonce[1], p->calls, p->state.call);
		p->calls++;
		if (!p->stop)
			pause_for(p);
	}
	p->state.ended = (uint8_t)p->why;
	p->active = false;
	pthread_cond_broadcast(&p->changed);
}

static void *park_thread(void *arg) /* pthread's signature */
{
	struct park *p = arg;

	pthread_mutex_lock(&p->lock);
	p->state.tid = (uint32_t)syscall(SYS_gettid);
	pthread_cond_broadcast(&p->changed);
	for (;;) {
		while (!p->active)
			pthread_cond_wait(&p->changed, &p->lock);
		parked(p);
	}
	return NULL;
}

int park_init(struct park *p)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int r = pthread_attr_setstack(&attr, p->stack, sizeof(p->stack));
	if (!r)
		r = pthread_create(&thread, &attr, park_thread, p);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	pthread_mutex_lock(&p->lock);
	while (!p->state.tid)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

int park_begin(struct park *p, const struct agent_park_request *r)
{
	int busy;

	pthread_mutex_lock(&p->lock);
	busy = p->active;
	if (!busy) {
		p->state.nonce[0] = r->nonce[0];
		p->state.nonce[1] = r->nonce[1];
		p->state.call = r->call;
		p->state.nr = (uint32_t)calls[r->call].nr;
		p->state.ended = AGENT_PARK_NEVER;
		strncpy(p->state.function, calls[r->call].function, sizeof(p->state.function) - 1);
		p->interval_ms = r->interval_ms;
		p->ends_at = agent_now_ms() + r->timeout_ms;
		p->calls = 0;
		p->stop = false;
		p->active = true;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return busy ? -EBUSY : 0;
}

void park_end(struct park *p, enum agent_park_end why, uint32_t wait_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until); /* pthread_cond_timedwait's clock */
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&p->lock);
	if (p->active && !p->stop) {
		p->stop = true;
		p->why = why;
	}
	while (p->active && wait_ms)
		if (pthread_cond_timedwait(&p->changed, &p->lock, &until))
			break;
	pthread_mutex_unlock(&p->lock);
}

bool park_active(struct park *p)
{
	pthread_mutex_lock(&p->lock);
	bool active = p->active;
	pthread_mutex_unlock(&p->lock);
	return active;
}

void park_state(struct park *p, struct agent_state *ret)
{
	uint64_t now = agent_now_ms();

	pthread_mutex_lock(&p->lock);
	*ret = p->state;
	ret->parked = p->active;
	ret->calls = p->calls;
	ret->left_ms = p->active && p->ends_at > now ? (uint32_t)(p->ends_at - now) : 0;
	pthread_mutex_unlock(&p->lock);
}
