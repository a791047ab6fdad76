// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest RAM: making it, reading it, writing it, zapping it; see memory.h. Never
 * hands out an address that was not checked against the size of RAM, and never
 * touches RAM through the slots mapping, which a flip may be replacing.
 */
#include "vmm/kvm/memory.h"

#include <errno.h>
#include <linux/memfd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

static int make(struct memory *mem, uint64_t size, unsigned places, unsigned memfd_flags, int map_flags, struct err *e)
{
	*mem = (struct memory){ .fd = -1 };
	mem->low = size < MEMORY_LOW_MAX ? size : MEMORY_LOW_MAX;
	mem->high = size - mem->low;
	mem->pages = (size_t)(size / PAGE_SIZE);
	mem->file_pages = places * mem->pages;
	pthread_rwlock_init(&mem->lock, NULL);
	mem->slots = mem->alias = MAP_FAILED;
	mem->map = calloc(mem->pages, sizeof(*mem->map));
	mem->state = calloc(mem->file_pages, 1);
	mem->fd = memfd_create("vmpoke-guest", MFD_CLOEXEC | memfd_flags);
	if (!mem->map || !mem->state || mem->fd < 0 || ftruncate(mem->fd, (off_t)(places * size)) < 0)
		return err_set(e, ERR_FAILED, errno, "", "guest memory of %llu MiB: %s",
			       (unsigned long long)(size >> 20), strerror(errno));
	mem->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | map_flags, mem->fd, 0);
	mem->alias = mmap(NULL, places * size, PROT_READ | PROT_WRITE, MAP_SHARED | map_flags, mem->fd, 0);
	if (mem->slots == MAP_FAILED || mem->alias == MAP_FAILED)
		return err_set(e, ERR_FAILED, errno, "", "cannot map guest memory: %s", strerror(errno));
	for (size_t i = 0; i < mem->pages; i++) {
		mem->map[i] = (uint32_t)i;
		mem->state[i] = PAGE_USED;
	}
	return 0;
}

/* Two places: each page can be at home or in a shadow; holes cost nothing. */
int memory_init(struct memory *mem, uint64_t size, struct err *e)
{
	return make(mem, size, 2, 0, MAP_NORESERVE, e);
}

/* With a reservation, as a guest that touches a page that is not to be had would kill us with SIGBUS. */
int memory_init_huge(struct memory *mem, uint64_t size, struct err *e)
{
	int r = make(mem, size, 1, MFD_HUGETLB | MFD_HUGE_2MB, 0, e);

	if (r < 0)
		err_prefix(e, "huge pages");
	return r;
}

void memory_done(struct memory *mem)
{
	if (!mem->pages)
		return;
	if (mem->slots != MAP_FAILED)
		munmap(mem->slots, mem->pages * PAGE_SIZE);
	if (mem->alias != MAP_FAILED)
		munmap(mem->alias, mem->file_pages * PAGE_SIZE);
	if (mem->fd >= 0)
		close(mem->fd);
	free(mem->map);
	free(mem->state);
	free(mem->scratch);
	pthread_rwlock_destroy(&mem->lock);
	*mem = (struct memory){ .fd = -1 };
}

ssize_t memory_page(const struct memory *mem, uint64_t gpa)
{
	if (gpa < mem->low)
		return (ssize_t)(gpa / PAGE_SIZE);
	if (gpa >= MEMORY_HIGH_START && gpa - MEMORY_HIGH_START < mem->high)
		return (ssize_t)((mem->low + gpa - MEMORY_HIGH_START) / PAGE_SIZE);
	return -EFAULT;
}

static bool in_ram(const struct memory *mem, uint64_t gpa, size_t len)
{
	uint64_t end = gpa < mem->low ? mem->low : MEMORY_HIGH_START + mem->high;

	return memory_page(mem, gpa) >= 0 && len <= end - gpa;
}

/* Caller holds the lock. *len is cut at the end of the page. */
static uint8_t *host(struct memory *mem, uint64_t gpa, size_t *len)
{
	size_t offset = gpa % PAGE_SIZE;

	if (*len > PAGE_SIZE - offset)
		*len = PAGE_SIZE - offset;
	return mem->alias + (size_t)mem->map[memory_page(mem, gpa)] * PAGE_SIZE + offset;
}

/* Ring indices of virtio are two bytes that the other side changes meanwhile: they must not be read or written in halves. */
static void load(void *out, const uint8_t *from, size_t len)
{
	if (len == 2 && (uintptr_t)from % 2 == 0)
		memcpy(out, &(uint16_t){ atomic_load_explicit((_Atomic uint16_t *)(uintptr_t)from, memory_order_acquire) }, 2);
	else
		memcpy(out, from, len);
}

static void store(uint8_t *to, const void *in, size_t len)
{
	uint16_t two;

	if (len == 1) {
		atomic_store_explicit((_Atomic uint8_t *)to, *(const uint8_t *)in, memory_order_release);
	} else if (len == 2 && (uintptr_t)to % 2 == 0) {
		memcpy(&two, in, 2);
		atomic_store_explicit((_Atomic uint16_t *)(uintptr_t)to, two, memory_order_release);
	} else {
		memcpy(to, in, len);
	}
}

int memory_read(struct memory *mem, uint64_t gpa, void *buf, size_t len)
{
	uint8_t *out = buf;

	if (!in_ram(mem, gpa, len))
		return -EFAULT;
	pthread_rwlock_rdlock(&mem->lock);
	while (len) {
		size_t run = len;
		const uint8_t *from = host(mem, gpa, &run); /* before run is used: it may be cut */
		load(out, from, run);
		out += run;
		gpa += run;
		len -= run;
	}
	pthread_rwlock_unlock(&mem->lock);
	return 0;
}

int memory_write(struct memory *mem, uint64_t gpa, const void *buf, size_t len)
{
	const uint8_t *in = buf;

	if (!in_ram(mem, gpa, len))
		return -EFAULT;
	pthread_rwlock_rdlock(&mem->lock);
	while (len) {
		size_t run = len;
		uint8_t *to = host(mem, gpa, &run);
		store(to, in, run);
		in += run;
		gpa += run;
		len -= run;
	}
	pthread_rwlock_unlock(&mem->lock);
	return 0;
}

int memory_exchange(struct memory *mem, uint64_t gpa, uint32_t expected, uint32_t desired)
{
	size_t run = sizeof(expected);

	if (gpa % sizeof(expected) || !in_ram(mem, gpa, sizeof(expected)))
		return -EFAULT;
	pthread_rwlock_rdlock(&mem->lock);
	bool done = atomic_compare_exchange_strong((_Atomic uint32_t *)(uintptr_t)host(mem, gpa, &run), &expected, desired);
	pthread_rwlock_unlock(&mem->lock);
	return done;
}

uint8_t *memory_at(struct memory *mem, uint64_t gpa, size_t len)
{
	uint8_t *at = NULL;

	if (!len || !in_ram(mem, gpa, len))
		return NULL;
	pthread_rwlock_rdlock(&mem->lock);
	size_t first = (size_t)memory_page(mem, gpa), last = (size_t)memory_page(mem, gpa + len - 1);
	for (size_t i = first; i < last; i++)
		if (mem->map[i] + 1 != mem->map[i + 1])
			goto out;
	at = mem->alias + (size_t)mem->map[first] * PAGE_SIZE + gpa % PAGE_SIZE;
out:
	pthread_rwlock_unlock(&mem->lock);
	return at;
}

int memory_check(const struct memory *mem, const uint64_t *gpas, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (memory_page(mem, gpas[i]) < 0)
			return err_set_addr(e, ERR_FAILED, EFAULT, "", gpas[i], "0x%llx is not RAM",
					    (unsigned long long)gpas[i]);
	return 0;
}

/*
 * One call over all pages, so that a vCPU in guest mode is thrown out once and not
 * once per page. DONTNEED on a shared mapping keeps the contents in the file.
 */
int memory_zap(struct memory *mem, const uint64_t *gpas, size_t n, struct err *e)
{
	size_t first = SIZE_MAX, last = 0;
	int r = memory_check(mem, gpas, n, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		size_t page = (size_t)memory_page(mem, gpas[i]);
		first = page < first ? page : first;
		last = page > last ? page : last;
	}
	if (!n)
		return 0;
	size_t span = (last - first + 1) * PAGE_SIZE;
	if (span > MEMORY_SPAN_MAX)
		return -E2BIG;
	pthread_rwlock_rdlock(&mem->lock);
	r = madvise(mem->slots + first * PAGE_SIZE, span, MADV_DONTNEED) < 0 ? -errno : 0;
	pthread_rwlock_unlock(&mem->lock);
	return r < 0 ? err_set(e, ERR_FAILED, -r, "", "cannot zap guest pages: %s", strerror(-r)) : 0;
}

uint64_t memory_settle(struct memory *mem)
{
	pthread_rwlock_rdlock(&mem->lock);
	uint64_t flips = mem->flips;
	pthread_rwlock_unlock(&mem->lock);
	return flips;
}
