// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Workload of the test guest: threads on every CPU that fight for one spinlock of the
 * kernel (dup() and close() take the lock of the file table), with pauses, so that now
 * and then nobody waits for it. Prints once a second how often all of them and the
 * slowest of them got through since the start ("locks TOTAL SLOWEST"): a thread that
 * waits for an unlock that never wakes it stands out. Must never stop by itself.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS	    50 /* in a row */
#define PAUSE_US    1000
#define THREADS_MAX 64

static struct {
	_Alignas(64) atomic_ulong rounds;
} done[THREADS_MAX];

struct hammer {
	int cpu;
};

static void *hammer_run(void *arg)
{
	const struct hammer *h = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)h->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		perror("sched_setaffinity");
	for (;;) {
		for (int i = 0; i < ROUNDS; i++) {
			int fd = dup(STDIN_FILENO);

			if (fd < 0 || close(fd) != 0)
				printf("ILLEGAL dup() on CPU %d\n", h->cpu);
			atomic_fetch_add_explicit(&done[h->cpu].rounds, 1, memory_order_relaxed);
		}
		usleep(PAUSE_US);
	}
	return NULL;
}

static void report(long cpus)
{
	unsigned long total = 0, slowest = -1ul;

	for (long i = 0; i < cpus; i++) {
		unsigned long n = atomic_load(&done[i].rounds);

		total += n;
		slowest = n < slowest ? n : slowest;
	}
	printf("locks %lu %lu\n", total, slowest);
}

int main(void)
{
	static struct hammer hammers[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (cpus > THREADS_MAX)
		cpus = THREADS_MAX;
	for (int i = 0; i < cpus; i++) {
		pthread_t t;

		hammers[i].cpu = i;
		if (pthread_create(&t, NULL, hammer_run, &hammers[i]) != 0) {
			perror("pthread_create");
			return EXIT_FAILURE;
		}
	}
	for (;;) {
		sleep(1);
		report(cpus);
	}
}
