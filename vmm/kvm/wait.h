/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting on a condition until a point of now_us() time. */
#ifndef VMPOKE_VMM_KVM_WAIT_H
#define VMPOKE_VMM_KVM_WAIT_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "protocol/util.h"

/* 0 when woken, -ETIMEDOUT. The condition may be of any clock: the wait names its own. */
static inline int wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_us)
{
	struct timespec at = { .tv_sec = (time_t)(deadline_us / 1000000), .tv_nsec = (long)(deadline_us % 1000000) * 1000 };

	return -pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &at);
}

#endif
