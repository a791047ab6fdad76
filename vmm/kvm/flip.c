// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The page remap. Copies of the touched pages are patched where nobody sees them,
 * then ONE mmap(MAP_FIXED) puts them in place. The kernel does that under its
 * mmap lock: the MMU notifier takes the old pages from every vCPU, and a vCPU
 * that wants one meanwhile waits in its fault until the new mapping is there. So
 * no vCPU ever sees some new pages and then an old one. Must never lose a byte
 * the guest writes: pages between the touched ones are frozen first, and a write
 * that reached a touched page between copy and switch is carried over.
 *
 * Two places per page are enough: when all pages of a range are away from home,
 * the next flip brings them home and the kernel merges the mapping with its
 * neighbours again. Pages left behind are kept as spares for the next flip, a
 * bounded number of them; the others are punched out of the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/kvm/memory.h"

#define SPARE_MAX 512 /* pages */

struct flip {
	size_t first, count; /* guest pages */
	size_t target;	     /* file page of the first */
	uint8_t *touched;    /* count flags */
	uint8_t *before;     /* what the touched pages held when they were copied */
	size_t n_touched;
};

static void flip_done(struct flip *f)
{
	free(f->touched);
	free(f->before);
}

/* Checks every flip and finds the range they cover. */
static int measure(const struct memory *mem, const struct backend_flip *flips, size_t n, struct flip *f, struct err *e)
{
	size_t first = SIZE_MAX, last = 0;

	for (size_t i = 0; i < n; i++) {
		ssize_t page = memory_page(mem, flips[i].gpa);
		if (page < 0 || !flips[i].len || flips[i].len > PAGE_SIZE - flips[i].gpa % PAGE_SIZE)
			return err_set_addr(e, ERR_FAILED, EFAULT, "", flips[i].gpa,
					    "0x%llx: %u bytes are not inside one page of RAM",
					    (unsigned long long)flips[i].gpa, flips[i].len);
		first = (size_t)page < first ? (size_t)page : first;
		last = (size_t)page > last ? (size_t)page : last;
	}
	if (!n || (last - first + 1) * PAGE_SIZE > MEMORY_SPAN_MAX)
		return err_set(e, ERR_REFUSED, n ? E2BIG : EINVAL, "flip-span",
			       "the sites lie more than %u MiB apart: they cannot be remapped at once",
			       MEMORY_SPAN_MAX >> 20);
	f->first = first;
	f->count = last - first + 1;
	return 0;
}

static int prepare(const struct memory *mem, const struct backend_flip *flips, size_t n, struct flip *f)
{
	f->touched = calloc(f->count, 1);
	if (!f->touched)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint8_t *t = &f->touched[(size_t)memory_page(mem, flips[i].gpa) - f->first];
		f->n_touched += !*t;
		*t = 1;
	}
	f->before = malloc(f->n_touched * PAGE_SIZE);
	return f->before ? 0 : -ENOMEM;
}

/* The home of the range when nobody is at home there, else the first shadow that is large enough. */
static int choose_target(const struct memory *mem, struct flip *f)
{
	size_t run = 0;

	f->target = f->first;
	while (run < f->count && mem->state[f->first + run] != PAGE_USED)
		run++;
	if (run == f->count)
		return 0;
	run = 0;
	for (size_t i = mem->pages; i < mem->file_pages; i++) {
		run = mem->state[i] == PAGE_USED ? 0 : run + 1;
		if (run == f->count) {
			f->target = i + 1 - run;
			return 0;
		}
	}
	return -ENOSPC;
}

static uint8_t *file_page(const struct memory *mem, size_t page)
{
	return mem->alias + page * PAGE_SIZE;
}

static void copy_pages(const struct memory *mem, const struct flip *f)
{
	uint8_t *before = f->before;

	for (size_t i = 0; i < f->count; i++) {
		const uint8_t *from = file_page(mem, mem->map[f->first + i]);
		if (f->touched[i]) {
			memcpy(before, from, PAGE_SIZE);
			from = before;
			before += PAGE_SIZE;
		}
		memcpy(file_page(mem, f->target + i), from, PAGE_SIZE);
	}
}

static void patch_copies(const struct memory *mem, const struct flip *f, const struct backend_flip *flips, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t page = f->target + (size_t)memory_page(mem, flips[i].gpa) - f->first;
		memcpy(file_page(mem, page) + flips[i].gpa % PAGE_SIZE, flips[i].bytes, flips[i].len);
	}
}

/*
 * Nobody can reach the old pages any more, so what differs from the copy taken is
 * what a guest wrote in between; it goes to the new page, before the caller's
 * read-back check.
 */
static void carry_over(const struct memory *mem, const struct flip *f)
{
	const uint8_t *before = f->before;

	for (size_t i = 0; i < f->count; i++) {
		if (!f->touched[i])
			continue;
		const uint8_t *old = file_page(mem, mem->map[f->first + i]);
		uint8_t *to = file_page(mem, f->target + i);
		if (memcmp(old, before, PAGE_SIZE))
			for (size_t k = 0; k < PAGE_SIZE; k++)
				if (old[k] != before[k])
					__atomic_store_n(&to[k], old[k], __ATOMIC_RELAXED);
		before += PAGE_SIZE;
	}
}

/* Gives the memory of all spares back. */
static void drop_spares(struct memory *mem)
{
	size_t i = 0;

	while (i < mem->file_pages) {
		size_t end = i;
		while (end < mem->file_pages && mem->state[end] == PAGE_SPARE)
			mem->state[end++] = PAGE_FREE;
		if (end > i)
			fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(i * PAGE_SIZE),
				  (off_t)((end - i) * PAGE_SIZE));
		i = end + 1;
	}
	mem->spare = 0;
}

static void move_map(struct memory *mem, const struct flip *f)
{
	for (size_t i = 0; i < f->count; i++) {
		uint32_t *page = &mem->map[f->first + i];
		mem->spare -= mem->state[f->target + i] == PAGE_SPARE;
		mem->state[f->target + i] = PAGE_USED;
		mem->state[*page] = PAGE_SPARE;
		mem->spare++;
		*page = (uint32_t)(f->target + i);
	}
	if (mem->spare > SPARE_MAX)
		drop_spares(mem);
}

/* Pages that were copied and not used after all: in the file, so they count as spares. */
static void give_up(struct memory *mem, const struct flip *f)
{
	for (size_t i = 0; i < f->count; i++) {
		mem->spare += mem->state[f->target + i] == PAGE_FREE;
		mem->state[f->target + i] = PAGE_SPARE;
	}
}

static int flip_locked(struct memory *mem, struct flip *f, const struct backend_flip *flips, size_t n, struct err *e)
{
	uint8_t *at = mem->slots + f->first * PAGE_SIZE;
	size_t len = f->count * PAGE_SIZE;

	if (choose_target(mem, f) < 0)
		return err_set(e, ERR_REFUSED, ENOSPC, "flip-room", "no room for a copy of %zu guest pages", f->count);
	/* A guest write now leaves KVM_RUN with -EFAULT or as MMIO; both wait for the lock we hold (exits.c). */
	bool frozen = f->n_touched < f->count;
	if (frozen && mprotect(at, len, PROT_READ) < 0)
		return err_set(e, ERR_FAILED, errno, "", "cannot freeze guest pages: %s", strerror(errno));
	copy_pages(mem, f);
	patch_copies(mem, f, flips, n);
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, mem->fd,
		 (off_t)(f->target * PAGE_SIZE)) == MAP_FAILED) {
		int error = errno;
		if (frozen)
			mprotect(at, len, PROT_READ | PROT_WRITE);
		give_up(mem, f);
		return err_set(e, ERR_FAILED, error, "", "cannot remap guest pages: %s", strerror(error));
	}
	carry_over(mem, f);
	move_map(mem, f);
	mem->flips++;
	return 0;
}

int memory_flip(struct memory *mem, const struct backend_flip *flips, size_t n, struct err *e)
{
	struct flip f = { 0 };
	int r = measure(mem, flips, n, &f, e);

	if (r < 0)
		return r;
	r = prepare(mem, flips, n, &f);
	if (r < 0) {
		err_set(e, ERR_FAILED, -r, "", "out of memory");
	} else {
		pthread_rwlock_wrlock(&mem->lock);
		r = flip_locked(mem, &f, flips, n, e);
		pthread_rwlock_unlock(&mem->lock);
	}
	flip_done(&f);
	return r;
}
