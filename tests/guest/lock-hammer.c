// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Workload of the test guest: a thread on every CPU, all of which fight for two spinlocks of the kernel without a
 * pause: that of the file table (dup() and close(), interrupts on) and that of an eventfd (write(), interrupts
 * off). What a lock that lets two in at once would spoil is checked: a file descriptor is nobody else's,
 * and the eventfd, read with all threads parked once a second, holds the sum of what was written. Then a line says
 * how often all of them and the slowest of them got through since the start ("locks TOTAL SLOWEST"): a
 * thread that waits for an unlock that never wakes it stands out. Must never stop by itself.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS_MAX 64
#define FDS_MAX	    1024
#define PARK_US	    1000

static struct hammer {
	_Alignas(64) atomic_ulong rounds;
	atomic_bool parked;
	int cpu;
} hammers[THREADS_MAX];
static atomic_bool park;
static atomic_int owner[FDS_MAX]; /* of a file descriptor: CPU + 1, 0: nobody */
static int sum_fd;

static void illegal(const struct hammer *h, const char *what, int fd)
{
	printf("ILLEGAL %s on CPU %d: %d\n", what, h->cpu, fd);
}

static void fight(struct hammer *h)
{
	const uint64_t one = 1;
	int fd = dup(STDIN_FILENO);

	if (fd < 0 || fd >= FDS_MAX) {
		illegal(h, "dup()", fd);
		return;
	}
	if (atomic_exchange(&owner[fd], h->cpu + 1) != 0)
		illegal(h, "descriptor of two", fd);
	if (write(sum_fd, &one, sizeof(one)) != sizeof(one))
		illegal(h, "write()", sum_fd);
	if (atomic_exchange(&owner[fd], 0) != h->cpu + 1)
		illegal(h, "descriptor of another", fd);
	if (close(fd) != 0)
		illegal(h, "close()", fd);
	atomic_fetch_add_explicit(&h->rounds, 1, memory_order_relaxed);
}

static void *hammer_run(void *arg)
{
	struct hammer *h = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)h->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		perror("sched_setaffinity");
	for (;;) {
		while (atomic_load(&park)) {
			atomic_store(&h->parked, true);
			usleep(PARK_US);
		}
		atomic_store(&h->parked, false);
		fight(h);
	}
	return NULL;
}

/* A thread may begin one more round between its last look at park and its parking: never after it. */
static void park_all(long cpus)
{
	for (long i = 0; i < cpus; i++)
		atomic_store(&hammers[i].parked, false);
	atomic_store(&park, true);
	for (long i = 0; i < cpus; i++)
		while (!atomic_load(&hammers[i].parked))
			usleep(PARK_US);
}

static void report(long cpus)
{
	static uint64_t sum;
	unsigned long total = 0, slowest = -1ul;
	uint64_t more = 0;

	park_all(cpus);
	for (long i = 0; i < cpus; i++) {
		unsigned long n = atomic_load(&hammers[i].rounds);

		total += n;
		slowest = n < slowest ? n : slowest;
	}
	if (read(sum_fd, &more, sizeof(more)) == sizeof(more))
		sum += more;
	atomic_store(&park, false);
	if (sum != total)
		printf("ILLEGAL sum %lu of %lu rounds\n", (unsigned long)sum, total);
	printf("locks %lu %lu\n", total, slowest);
}

int main(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	setvbuf(stdout, NULL, _IOLBF, 0);
	sum_fd = eventfd(0, EFD_NONBLOCK);
	if (sum_fd < 0 || cpus < 1) {
		perror("eventfd");
		return EXIT_FAILURE;
	}
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
