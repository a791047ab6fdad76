/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM: one memfd, mapped twice. The "slots" mapping is what KVM sees and is
 * what a flip replaces; the "alias" mapping shows the whole file in file order,
 * never changes, and is how we read and write. A map says which file page each
 * guest page lives in: at home (same index as in the guest) or in a shadow
 * behind RAM.
 *
 * lock: read side for every access through the alias, write side for a change of
 * the map, so that no access lands in a page that was just replaced.
 */
#ifndef VMPOKE_VMM_KVM_MEMORY_H
#define VMPOKE_VMM_KVM_MEMORY_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"
#include "vmm/backend.h"

#define PAGE_SIZE 4096u
#define MEMORY_HUGE_PAGE (2ull << 20)
#define MEMORY_LOW_MAX (3ull << 30)    /* below it RAM, above it devices up to 4 GiB */
#define MEMORY_HIGH_START (4ull << 30) /* the rest of RAM */
#define MEMORY_SPAN_MAX (64u << 20)    /* of one flip or one zap: from its first to its last page */

enum memory_page {
	PAGE_FREE,  /* a hole in the file, or a home page that was punched out */
	PAGE_USED,  /* some guest page lives there */
	PAGE_SPARE, /* not in use, still allocated */
};

struct memory {
	int fd;
	uint8_t *slots;		/* RAM in guest order, low part then high part, without the gap */
	uint8_t *alias;		/* the file */
	uint64_t low, high;	/* bytes of RAM below 3 GiB and above 4 GiB */
	size_t pages;		/* of RAM */
	size_t file_pages;	/* RAM and shadows */
	uint32_t *map;		/* guest page -> file page */
	uint8_t *state;		/* file page: enum memory_page */
	size_t spare;		/* file pages that are allocated and not in use */
	size_t away;		/* guest pages that live in a shadow */
	size_t breaks;		/* neighbours in the guest that are none in the file */
	size_t cursor;		/* guest page where the search for some to take home goes on */
	uint8_t *scratch;	/* of a flip, under lock */
	size_t scratch_len;
	uint64_t flips;		/* how often the map changed; under lock */
	pthread_rwlock_t lock;
};

int memory_init(struct memory *mem, uint64_t size, struct err *e);
/*
 * In pages of 2 MiB from the host's pool (vm.nr_hugepages), all reserved now: -ENOMEM
 * when there are too few. size is a multiple of MEMORY_HUGE_PAGE. There are no shadows:
 * nothing can be flipped, and no part of such a page can be zapped.
 */
int memory_init_huge(struct memory *mem, uint64_t size, struct err *e);
void memory_done(struct memory *mem); /* zeroed objects allowed */

/* Index of the RAM page that holds gpa, or -EFAULT. */
ssize_t memory_page(const struct memory *mem, uint64_t gpa);

/* -EFAULT when any byte is not RAM; nothing is written then. One byte, and two at an even address, are accessed at once. */
int memory_read(struct memory *mem, uint64_t gpa, void *buf, size_t len);
int memory_write(struct memory *mem, uint64_t gpa, const void *buf, size_t len);

/* From expected to desired, as one locked instruction. 1: done; 0: something else is there; -EFAULT: no RAM, or gpa not divisible by 4. */
int memory_exchange(struct memory *mem, uint64_t gpa, uint32_t expected, uint32_t desired);

/* Host address of len bytes that follow each other in the file, or NULL. Valid until the next flip. */
uint8_t *memory_at(struct memory *mem, uint64_t gpa, size_t len);

/*
 * Replaces the pages of all flips at once (flip.c). Pages between them that no flip
 * touches are copied as well; for these the guest is kept from writing meanwhile,
 * which costs it one more exit. A caller that knows such a page to be text nobody
 * writes lists it as a flip of one byte to what it is, and saves that exit.
 */
int memory_flip(struct memory *mem, const struct backend_flip *flips, size_t n, struct err *e);

/* -EFAULT when one of them is not RAM. */
int memory_check(const struct memory *mem, const uint64_t *gpas, size_t n, struct err *e);

/* Takes the pages out of the MMU that KVM keeps for them; contents stay. -E2BIG when they lie too far apart. */
int memory_zap(struct memory *mem, const uint64_t *gpas, size_t n, struct err *e);

/* Returns when no flip is under way; how many there have been. */
uint64_t memory_settle(struct memory *mem);

#endif
