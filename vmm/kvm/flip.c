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
 * A range that is away from home goes from shadow to shadow: splitting the kernel's
 * mapping and merging it again cost as much as the rest of the remap. When many ranges
 * or pages are away the next flip of one brings it home, where its mapping merges with
 * its neighbours, and each flip takes another range home with it, of which the guest
 * feels up to two exits more. Pages left behind are kept as spares for the next flip,
 * a bounded number of them; the others are punched out of the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/kvm/memory.h"

#define SPARE_MAX  512  /* pages */
#define AWAY_MAX   1024 /* pages in shadows, beyond which ranges go home */
#define HOME_MAX   512	/* pages taken home along with one flip */
#define BREAKS_MAX 256	/* places where the mapping is split: each costs the kernel a VMA, and page faults a longer search */

struct flip {
	size_t first, count; /* guest pages */
	size_t target;	     /* file page of the first */
	uint8_t *touched;    /* count flags */
	uint8_t *before;     /* what the touched pages held when they were copied */
	size_t n_touched;
};

/* Kept for the next flip, as a big one would else be mapped and unmapped each time; one that is far too big is not. */
static int scratch(struct memory *mem, size_t len, uint8_t **ret)
{
	if (mem->scratch_len < len) {
		uint8_t *larger = realloc(mem->scratch, len);

		if (!larger)
			return -ENOMEM;
		mem->scratch = larger;
		mem->scratch_len = len;
	}
	*ret = mem->scratch;
	return 0;
}

static void scratch_trim(struct memory *mem)
{
	if (mem->scratch_len <= SPARE_MAX * PAGE_SIZE)
		return;
	free(mem->scratch);
	mem->scratch = NULL;
	mem->scratch_len = 0;
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

static int prepare(struct memory *mem, const struct backend_flip *flips, size_t n, struct flip *f)
{
	size_t most = n < f->count ? n : f->count; /* touched pages */
	uint8_t *room;
	int r = scratch(mem, most * PAGE_SIZE + f->count, &room);

	if (r < 0)
		return r;
	f->before = room;
	f->touched = room + most * PAGE_SIZE;
	memset(f->touched, 0, f->count);
	for (size_t i = 0; i < n; i++) {
		uint8_t *t = &f->touched[(size_t)memory_page(mem, flips[i].gpa) - f->first];
		f->n_touched += !*t;
		*t = 1;
	}
	return 0;
}

/* The first run of file pages in [from, to) that nobody lives in. */
static bool find_room(const struct memory *mem, size_t from, size_t to, struct flip *f)
{
	size_t run = 0;

	for (size_t i = from; i < to; i++) {
		run = mem->state[i] == PAGE_USED ? 0 : run + 1;
		if (run == f->count) {
			f->target = i + 1 - run;
			return true;
		}
	}
	return false;
}

static bool at_home(const struct memory *mem, struct flip *f)
{
	return find_room(mem, f->first, f->first + f->count, f);
}

static bool in_shadow(const struct memory *mem, struct flip *f)
{
	return find_room(mem, mem->pages, mem->file_pages, f);
}

static int choose_target(const struct memory *mem, struct flip *f)
{
	bool stay_away = mem->away + f->count <= AWAY_MAX && mem->breaks < BREAKS_MAX;
	bool found = stay_away ? in_shadow(mem, f) || at_home(mem, f) : at_home(mem, f) || in_shadow(mem, f);

	return found ? 0 : -ENOSPC;
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
 * Nobody can reach the old page any more, so what differs from the copy taken is
 * what a guest wrote in between; it goes to the new page, before the caller's
 * read-back check. Unless the guest has written there again since: the later byte stays.
 */
static void carry_page(const uint8_t *old, uint8_t *before, uint8_t *to)
{
	for (size_t k = 0; k < PAGE_SIZE; k++)
		if (old[k] != before[k])
			__atomic_compare_exchange_n(&to[k], &before[k], old[k], false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED);
}

static void carry_over(const struct memory *mem, const struct flip *f)
{
	uint8_t *before = f->before;

	for (size_t i = 0; i < f->count; i++) {
		if (!f->touched[i])
			continue;
		const uint8_t *old = file_page(mem, mem->map[f->first + i]);
		uint8_t *to = file_page(mem, f->target + i);
		if (memcmp(old, before, PAGE_SIZE))
			carry_page(old, before, to);
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

/* Places in and around the range where guest pages that follow each other do not in the file. */
static size_t breaks(const struct memory *mem, const struct flip *f)
{
	size_t n = 0;

	for (size_t i = f->first; i <= f->first + f->count && i < mem->pages; i++)
		n += i && mem->map[i - 1] + 1 != mem->map[i];
	return n;
}

static void move_map(struct memory *mem, const struct flip *f)
{
	mem->breaks -= breaks(mem, f);
	for (size_t i = 0; i < f->count; i++) {
		uint32_t *page = &mem->map[f->first + i];
		mem->spare -= mem->state[f->target + i] == PAGE_SPARE;
		mem->state[f->target + i] = PAGE_USED;
		mem->state[*page] = PAGE_SPARE;
		mem->spare++;
		mem->away -= *page >= mem->pages;
		*page = (uint32_t)(f->target + i);
		mem->away += *page >= mem->pages;
	}
	mem->breaks += breaks(mem, f);
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

/* The target is chosen. */
static int replace(struct memory *mem, const struct flip *f, const struct backend_flip *flips, size_t n, struct err *e)
{
	uint8_t *at = mem->slots + f->first * PAGE_SIZE;
	size_t len = f->count * PAGE_SIZE;

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
	return 0;
}

static bool is_away(const struct memory *mem, size_t page)
{
	return mem->map[page] >= mem->pages;
}

/* The next run of pages that are away, round and round; not the range that has just been flipped. */
static bool find_away(struct memory *mem, const struct flip *not, struct flip *ret)
{
	for (size_t i = 0; i < mem->pages; i++) {
		size_t page = (mem->cursor + i) % mem->pages, end = page;

		if (!is_away(mem, page) || page - not->first < not->count)
			continue;
		while (end < mem->pages && is_away(mem, end) && end != not->first && end - page < HOME_MAX)
			end++;
		*ret = (struct flip){ .first = page, .count = end - page, .target = page };
		mem->cursor = end % mem->pages;
		return true;
	}
	return false;
}

/* No page counts as touched, so all are frozen meanwhile. What fails here stays away. */
static void bring_home(struct memory *mem, const struct flip *not)
{
	struct flip f;
	uint8_t *room;

	if (!find_away(mem, not, &f) || scratch(mem, f.count, &room) < 0)
		return;
	f.touched = f.before = room;
	memset(room, 0, f.count);
	replace(mem, &f, NULL, 0, NULL);
}

static int flip_locked(struct memory *mem, struct flip *f, const struct backend_flip *flips, size_t n, struct err *e)
{
	if (choose_target(mem, f) < 0)
		return err_set(e, ERR_REFUSED, ENOSPC, "flip-room", "no room for a copy of %zu guest pages", f->count);
	int r = replace(mem, f, flips, n, e);
	if (r < 0)
		return r;
	if (mem->breaks > BREAKS_MAX || mem->away > AWAY_MAX)
		bring_home(mem, f);
	mem->flips++;
	return 0;
}

int memory_flip(struct memory *mem, const struct backend_flip *flips, size_t n, struct err *e)
{
	struct flip f = { 0 };
	int r = measure(mem, flips, n, &f, e);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&mem->lock);
	r = prepare(mem, flips, n, &f);
	if (r < 0)
		err_set(e, ERR_FAILED, -r, "", "out of memory");
	else
		r = flip_locked(mem, &f, flips, n, e);
	scratch_trim(mem);
	pthread_rwlock_unlock(&mem->lock);
	return r;
}
