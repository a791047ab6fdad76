// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Workload of the test guest: on every CPU a thread calls getpgrp() in a tight
 * loop. Prints once a second each value seen ("pgrp VALUE COUNT"), so that a
 * test sees a patch of that function arrive and leave, and at once any value
 * that is neither our process group nor the patched constant ("ILLEGAL VALUE").
 * Must never stop by itself: a missing line is how a test notices a dead guest.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_getpgrp /* arm64 has the general one only */
#define SYS_getpgrp SYS_getpgid, 0
#endif
#define PATCHED 4242 /* what tests/demo.yaml makes of it */
#define THREADS_MAX 64

static struct {
	_Alignas(64) atomic_ulong own;
	atomic_ulong patched;
} seen[THREADS_MAX];
static long own_pgrp;

struct watcher {
	int cpu;
};

static void watcher_pin(const struct watcher *w)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)w->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		perror("sched_setaffinity");
}

static void *watcher_run(void *arg)
{
	const struct watcher *w = arg;

	watcher_pin(w);
	for (;;) {
		long v = syscall(SYS_getpgrp);

		if (v == own_pgrp)
			atomic_fetch_add_explicit(&seen[w->cpu].own, 1, memory_order_relaxed);
		else if (v == PATCHED)
			atomic_fetch_add_explicit(&seen[w->cpu].patched, 1, memory_order_relaxed);
		else
			printf("ILLEGAL %ld on CPU %d\n", v, w->cpu);
	}
	return NULL;
}

static void report(long cpus)
{
	unsigned long own = 0, patched = 0;

	for (long i = 0; i < cpus; i++) {
		own += atomic_exchange(&seen[i].own, 0);
		patched += atomic_exchange(&seen[i].patched, 0);
	}
	if (own)
		printf("pgrp %ld %lu\n", own_pgrp, own);
	if (patched)
		printf("pgrp %d %lu\n", PATCHED, patched);
	if (!own && !patched)
		printf("STALLED\n");
}

int main(void)
{
	static struct watcher watchers[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	setvbuf(stdout, NULL, _IOLBF, 0);
	setpgid(0, 0);
	own_pgrp = syscall(SYS_getpgrp);
	if (cpus > THREADS_MAX)
		cpus = THREADS_MAX;
	for (int i = 0; i < cpus; i++) {
		pthread_t t;

		watchers[i].cpu = i;
		if (pthread_create(&t, NULL, watcher_run, &watchers[i]) != 0) {
			perror("pthread_create");
			return EXIT_FAILURE;
		}
	}
	for (;;) {
		sleep(1);
		report(cpus);
	}
}
