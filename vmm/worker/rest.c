// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an idle worker gives back; see session_rest(). Must never forget what only a
 * stopped VM could tell again: an idle worker must not cost its guest a pause.
 */
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/worker/session.h"

void session_used(struct session *s)
{
	s->rest_due_us = now_us() + REST_AFTER_US;
}

static bool looks_without_pause(const struct session *s)
{
	return s->backend && (s->info.caps & BACKEND_LIVE_READ) && (s->info.caps & BACKEND_LIVE_REGS);
}

/*
 * Text and constants of the program and its libraries, five sixths of an idle worker's resident set: the file has
 * them, and what is called is mapped again, 16 pages a fault. What is writable may differ from the file and stays;
 * a debugger's breakpoints do not. Where the kernel does not want to (locked memory) nothing is lost.
 */
static int text_unmap(struct dl_phdr_info *info, size_t size, void *page_mask)
{
	uintptr_t mask = *(const uintptr_t *)page_mask;

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = (info->dlpi_addr + p->p_vaddr) & mask;
		uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz + ~mask) & mask;

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 0;
}

int session_rest(struct session *s)
{
	uint64_t now = now_us();

	if (!s->rest_due_us)
		return -1;
	if (now < s->rest_due_us)
		return (int)((s->rest_due_us - now) / 1000) + 1;
	s->rest_due_us = 0;
	if (looks_without_pause(s))
		guest_shrink(s->guest);
	malloc_trim(0);
	uintptr_t page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	dl_iterate_phdr(text_unmap, &page_mask);
	return -1;
}
